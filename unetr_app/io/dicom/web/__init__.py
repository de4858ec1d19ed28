"""DICOMweb: series of a study
