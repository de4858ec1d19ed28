"""Plain words: the vocabulary of imaging, whose words in a text tell nothing of a person.

Attributes that table E.1-1 does not name may still hold anything. Their text stays where each of
its words is one of these, and goes where one is not.
"""

from __future__ import annotations

import re

_ANATOMY = """
abdomen abdominal accumbens adrenal amygdala ankle anterior aorta arm artery atrium axial
background bladder blood body bone bones bowel brain brainstem breast bronchus callosum cardiac
carotid caudate cava cavity cell cells central cerebellum cerebral cerebrum cervical chest
clavicle colon contralateral core coronal corpus cortex cranial csf cspine cyst deep disease
distal duct duodenum ear edema elbow enhancing entire esophagus extremity eye face fat femoral
femur finger fluid foot frontal gallbladder gland globe gray grey gross hand head headneck heart
hepatic hilum hip hippocampal hippocampus humerus iliac inferior inner intestine jaw kidney knee
label larynx lateral left leg lens lesion ligament limb liver lobe lower lspine lumbar lung
lungs lymph mandible mass matter medial mediastinum medulla mesencephalon metastasis middle
mouth muscle myocardium nasal neck necrosis necrotic nerve node nodes nodule nose nucleus
occipital optic oral orbit organ outer outside ovary pallidum pancreas pancreatic parietal
parotid pelvic pelvis pharynx pituitary pons portal posterior prostate proximal pulmonary
putamen rectum region renal rib ribs right sacrum scapula segment segmentation shoulder skeleton
skin skull small spinal spine spleen splenic sscore sternum stomach structure structures
subcutaneous superior temporal thalamus thigh thoracic thorax thyroid tibia tissue tongue tooth
trachea transverse trunk tspine tumor tumour upper ureter urinary uterus vascular vein ventral
ventricle vertebra vessel vessels volume wall white whole wholebody wrist
"""
_IMAGING = """
acquired acquisition activity adc add additional adlt algorithm algorithmname altered amplitude
ana anatomical angio angiography anisotropy anonymized apparent applied area arterial asl att
attenuation attn automatic average averaged avg axis beam bilateral bin binary biplane bitmap
block bold both bql bqml bravo bre breath bright bttr butterworth calc calculated cardiac ccw
channel cine circular clean closed closed_planar cnts coil collimated color colour column
combination combined complex component composed concentration constant contiguous continuous
contrast correct corrected correction count counts cps ctac cube cubic curved cw cyclic darkblue
data dataset dcal dce dcm decay decfactor decy delayed delta density derived detector device
diffusion digital dimension direct direction display distance distortion disturbed dixon dose
double dsc dscat dti dtim dual dwi dyn dynamic eccentricity ecg echo effective efov energy
english enhanced epi equivalent error even excitation exponential exposure external extract
factor fast fbp ffdl ffdr ffe ffp ffs field fiesta fill filter filtered final finding fixed flag
flair flash float flow fluence fmri fractional frame frequency frm full function fused gate
gated gaussian gems geometric geometry gml gradient gradientecho group half hann hanning hard
hasref helical helix hfdl hfdr hfp hfs high hold hounsfield hybrid identifier identity image
imaginary imaging impression improved inherent inphase instance intensity interest internal
interpolated inverse inversion inverted irradiated iso isotropic iteration iterative kernel
keyhole kinetic labelmap landmark language last lava linear list localizer log logistic loss low
magnitude manual map mask max maximum mean measured measurement measurements median medium
method milliseconds min minimum minip mip mixed mixture mode modelled modified modulus
monochrome morphologically mosaic motion mpr mprage mprange multi multiplanar multiple nac
native navigator ncc nema nondistorted none nonlinear nor norm normal normalized null number
object oblique observer off offline open opposed organs original orthogonal osem other
outofphase outphase output overlapping palette parallel partial path pathological pca percent
perfusion person pet phantom phase phased physical pixel planar plane planned plateau point
polar position power predefined prescan primary prime probability procedure processed processing
projection prone prop propcnts propcps propeller prospective protected proton quality
quantitative radial radiation ramp ran rand random ratio raw real recon reconstructed
reconstruction rectangular rectified reduced reduction reference referenced reformatted region
regions registered relative reordered rephased report reproj resampled research resolution
respiratory rest result retrospective reverse rgb rigid rotate rotated routine row sagittal
sampled saturation scale scan scat scatter screen sct secondary semiautomatic separate sequence
sequenced series shape sharp short shutter sigmoid signal sing single slab slice slope smooth
soft sort source space spatial spatially spect spectral spectroscopy spgr spin spiral spoiled
square srt ssl stack standard static stationary std steady step stereo stress study sub subtract
subtracted subtraction sum sup superparamagnetic supine suppressed suppression surface sweep swi
system table target temporal tfl thick thin time tof tomographic track tracking transmission
transmit triggered true truefisp trufi tse turbo type ucum uid ultra unaltered uncorrected
undefined undistorted undisturbed unenhanced uniform unique unit units unknown unsigned
unspecified untagged user valid value variable velocity vibe view volumetric voxel water wave wb
weighted weighting width window xray ybr yes zoom
"""
_VENDORS = """
accuray achieva advance aera agfa altea ambition app aquilion aquilionone architect artist as
avanto balance biograph biographmct brightspeed brilliance bruker canon carestream cartesion
celesteion confidence dcmqi definition discovery drive dual duo edge electric elekta elition
emotion esaote espree essenza evo excelart excite force fuji fujifilm galan gemini general
genesis gyroscan harmony healthcare healthineers highdicom hispeed hitachi hns hologic horizon
ingenia ingenuity intera iqon lightspeed lumina mct medical mediso mxtwin neusoft offis optima
orian panorama perspective philips pioneer pixelmed plus precedence premier prism prisma qiicr
revolution samsung scope sensation shimadzu siemens signa skyra slicer slicereditor software
sola somatom sonata spectral spirit symphony systems titan toshiba trio triotim unetr united
vantage varian vereos verio vida vision volume voyager zoom
"""
# Words of two letters, which a text may hold; in codes (CS) every word of two letters may stand.
_SHORT = """
adj alt and ang ap app at aux avg avm ax bh bq bsa bw by cm cor cs csa ct ctv cv dfs dim dis dix
dm dv ep fa flu for fov from fs ge gr gtv hr hu im in ir is iso it iv kvp lbm ll low ls lx map
mas max mb mdct mgcm mgml min ml mm mod mon mono mp mr ms msv nad nd neg nex nm no not nrm oar
od of on or os pa per pff ph pos post pre pt ptv ref rgb rl rm rot rt rtog sag se seg seq si sk
som sp spi sr ss std suv te the ti to top tr tra tri us vct wfs wip with xl
"""
# Words of the values that the standard itself lists, in codes (CS) alone.
_CODED = """
abdomenpelvis abdpelvis accessory acq addition admin adobergb affine agent anchored angle anus
approved arms asmt attenuated auto avoidance back backprojection bdus begin bileduct biped
bipolar bmd bolus brachy buttock calcaneus calf cap cardresp cascore center cervix chestabd
chestabdomen chestabdpelvis chnl circle circlewillis cln closedplanar coccyx code complete
composite concept container contains context control convolution copy cornea coronaryartery cta
ctprotocol ctspine curvilinear cylindrical date datetime deviation directional displayed
displayp division dns doc drw dvf edw eff ellipse ellipsoid encoded end endoarterial eog
epididymis eps equal erect eui exact exclusion fetus fid first fixation fluoroscopy forearm
foreground fourier fraction gbk grappa handed has headneckchest iac icc ict ilium inferred
intersection iol irrad ischium isocenter ivoct ivus ker legs len lin lps lsspine marker masked
material matrix maxilla maxip metabolite mgminml mininip motn multicoil multiecho multiplication
multipoint multisegment nearest neckchest non nonplanar nonstationary num oam obs occupancy oct
only opm opt optbsv optenf opticcanal opv oss pancbileduct parasternal paroxysmal patella
patient pcnt pct penis perineum pils plan pmot pname polygon polygonal polyline posttreatment
prelim presaturation pretreatment product proj properties quadruped quantity radl ras rct
realtime recalled record rectangle rectilinear recumbent reg registration regular rejected
reoriented resp rommrgb rtdose rtimage rtintent rtplan rtrad rtrecord rtsegann rtstruct rwv sat
scalp scoord segmented selected selective sella sense service session shld sijoint sinus slide
smash smr sparse src srf srgb sspine stain star start state stir submandibular support
supraclavicular suprapubic syn tagging tcoord temperature testis text texturemap thumb thymus
tiled tlspine tmj toe treated uidref umolminml unapproved union unipolar unverified upperarm
upperlimb uri uuid vagina verified vulva waveform wsd xor zygoma
"""
PLAIN = frozenset(f"{_ANATOMY} {_IMAGING} {_VENDORS} {_SHORT}".split())
"""Words, in lower case."""
_IN_CODES = PLAIN | frozenset(_CODED.split())

_MOST_DIGITS = 4
_WORD = re.compile(r"[^\W\d_]+")
_LONE = re.compile(r"[\x20-\x7e]*")


def is_plain_text(text: str, personal: frozenset[str] = frozenset()) -> bool:
    """Is each word of a text one of imaging, and none a word of the patient's identity?

    A few digits may stand between the words, as in a model's name.

    Args:
        text: Any text.
        personal: Words of the patient's identity, in lower case.

    Example:
        >>> is_plain_text("Left kidney"), is_plain_text("Miller, left kidney")
        (True, False)
    """
    found = _words(text)
    return found is not None and all(
        (word in PLAIN or len(word) == 1) and word not in personal for word in found
    )


def is_plain_code(text: str, personal: frozenset[str] = frozenset()) -> bool:
    """Is a coded value (VR CS) made of words of imaging, or of pairs of letters?

    Example:
        >>> is_plain_code("MONOCHROME2"), is_plain_code("MILLER")
        (True, False)
    """
    found = _words(text)
    return found is not None and all(
        word in _IN_CODES or (len(word) <= 2 and word not in personal) for word in found
    )


def _words(text: str) -> list[str] | None:
    """The words of a text in lower case; None where it is no plain text at all."""
    if _LONE.fullmatch(text) is None or sum(c.isdigit() for c in text) > _MOST_DIGITS:
        return None
    return [word.lower() for word in _WORD.findall(text)]
