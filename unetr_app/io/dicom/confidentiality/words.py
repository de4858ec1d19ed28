"""Plain words: the vocabulary of imaging, whose words in a text tell nothing of a person.

Attributes that table E.1-1 does not name may still hold anything. Their text stays where each of
its words is one of these, and goes where one is not.
"""

from __future__ import annotations

import re

_ANATOMY = """
abdomen abdominal accumbens adrenal amygdala ankle anterior aorta arm artery atrium axial background
bladder blood body bone bones bowel brain brainstem breast bronchus callosum cardiac carotid caudate
cavity cava cell cells central cerebellum cerebral cerebrum cervical chest clavicle colon
contralateral core coronal corpus cortex cranial csf cyst deep disease distal duct duodenum ear edema
elbow enhancing entire esophagus extremity eye face fat femoral femur finger fluid foot frontal
gallbladder gland globe gray grey gross hand head headneck heart hepatic hilum hip hippocampus
hippocampal humerus iliac inferior inner intestine jaw kidney knee label larynx lateral left leg
lens lesion ligament limb liver lobe lower lspine lumbar lung lungs lymph mandible mass matter medial
mediastinum medulla mesencephalon metastasis middle mouth muscle myocardium nasal neck necrosis
necrotic nerve nodule nose nucleus node nodes occipital optic oral orbit organ outer outside ovary
pallidum pancreas pancreatic parietal parotid pelvic pelvis pharynx pituitary pons portal posterior
prostate proximal pulmonary putamen rectum region renal rib ribs right sacrum scapula segment
segmentation shoulder skeleton skin skull small spinal spine spleen splenic sscore sternum stomach
structure structures subcutaneous superior temporal thalamus thigh thoracic thorax thyroid tibia
tissue tongue tooth trachea transverse trunk tspine cspine tumor tumour upper ureter urinary uterus
vascular vein ventral ventricle vertebra vessel vessels volume wall white whole wholebody wrist
"""
_IMAGING = """
acquired acquisition activity adc add additional algorithm amplitude angio angiography anisotropy
anonymized apparent applied area arterial attn attenuation automatic average averaged avg axis beam
bilateral bin binary biplane block bold both bravo breath bright bttr calc calculated cardiac
channel cine circular clean closed coil collimated colour color combination combined complex
component composed concentration constant contiguous continuous contrast correct corrected
correction count counts cube cubic curved cw ccw cyclic darkblue data decay decfactor decy
delayed delta density derived detector device diffusion digital dimension direct direction display
distance distortion disturbed dixon dose double dual dwi dynamic dyn echo effective efov
eccentricity ecg energy enhanced epi equivalent error even excitation exponential exposure external
extract factor fast ffe ffs ffp ffdr ffdl field fiesta fill filter filtered final fixed flair
flag flash float flow fluence fractional frame frequency full function fused gated gate gaussian
gems geometric geometry gradient gradientecho group half hanning hard hasref helical hfs hfp hfdr
hfdl high hold hybrid identity image imaginary impression improved inherent inphase instance
intensity internal interpolated inverse inversion inverted irradiated isotropic iteration
iterative keyhole kernel kinetic labelmap landmark last linear list localizer log logistic loss
low magnitude manual map mask maximum max mean measured median medium method min minimum mip
minip mixed mixture mode modelled modified modulus monochrome mosaic motion mpr mprage mprange
multi multiple multiplanar native navigator ncc nonlinear nondistorted none nor norm
normal normalized null number object off offline open opposed original orthogonal osem
other outofphase outphase output overlapping palette parallel partial path pca perfusion phase
phased phantom physical pixel planar plane plateau point polar position power predefined
prescan prime primary probability processed processing projection propeller proton prospective
protected quality quantitative radial radiation random ratio raw real reconstructed reconstruction
recon rectangular rectified reduced reduction reference reformatted registered relative
reordered rephased resampled research resolution respiratory rest result retrospective reverse rgb
rigid rotate rotated routine row column saturation scale scan scatter screen secondary
semiautomatic separate sequence sequenced series sharp shape short shutter sigmoid signal single
slab slice slope smooth soft sort source space spatial spatially spectral spectroscopy spin spiral
spoiled spgr square stack standard static stationary steady step stereo stress std subtract
subtracted subtraction sum superparamagnetic supine prone sup suppressed suppression surface sweep
system table target temporal thick thin time tof tomographic track transmit transmission triggered
true trufi truefisp tse turbo type ultra undefined undistorted unenhanced unaltered uncorrected
undisturbed uniform units unknown unsigned unspecified untagged user valid value variable
velocity view volumetric voxel vibe lava water wave weighted weighting width window xray ybr zoom
yes planned unit bitmap closed_planar sampled percent milliseconds
sagittal oblique sub bql bqml gml cnts prop propcnts propcps cps ssl osem tfl swi
dti dce dsc asl fmri pet spect ana ctac nac wb helix sing att scat ran dcal rand norm dtim
nema dcm sct srt ucum iso hounsfield adlt dscat bre recon frm reproj fbp ramp hann butterworth
organs interest anatomical pathological morphologically altered region regions
referenced person observer algorithmname finding measurement measurements group report tracking
identifier imaging procedure study uid language english unique dataset
"""
_VENDORS = """
siemens healthineers philips medical systems general electric healthcare canon toshiba hitachi
shimadzu united neusoft agfa fuji fujifilm hologic carestream esaote samsung bruker mediso
elekta varian accuray pixelmed offis qiicr highdicom dcmqi unetr app slicer
achieva ingenia intera gyroscan panorama ambition elition gemini brilliance ingenuity iqon
spectral vereos precedence mxtwin signa excite discovery optima revolution lightspeed brightspeed
hispeed advance evo horizon artist architect premier pioneer voyager genesis
avanto espree essenza symphony sonata harmony trio triotim verio skyra prisma vida aera
sola lumina altea biograph biographmct mct horizon vision somatom sensation definition emotion
volume zoom edge force drive confidence perspective scope spirit balance force duo dual as
plus aquilion aquilionone vantage titan orian galan prism genesis celesteion cartesion excelart
software hns slicereditor
"""
# Words of two letters, which a text may hold; in codes (CS) every word of two letters may stand.
_SHORT = """
ct mr pt nm sr seg hu us ge ls cm mm ms dm of in on no at by to the and or for with from per
se gr ir rm ep fs sk sp mp ss te tr ti fa is iv od os it im dv lx nd ph ax sag cor tra iso not
ir wip adj app msv bq ml suv bw lbm bsa od pre post low ap pa ll rl si fov min max mgml mgcm avg
std dfs nad ang nrm tri mb bh rt dix wfs dis flu csa som seq spi mon top rot vct mdct hr xl cv
pff cs nex rtog rgb mono alt aux avm gtv ctv ptv oar ref map pos neg dim mod kvp mas
"""
PLAIN = frozenset(f"{_ANATOMY} {_IMAGING} {_VENDORS} {_SHORT}".split())
"""Words, in lower case."""

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
        word in PLAIN or (len(word) <= 2 and word not in personal) for word in found
    )


def _words(text: str) -> list[str] | None:
    """The words of a text in lower case; None where it is no plain text at all."""
    if _LONE.fullmatch(text) is None or sum(c.isdigit() for c in text) > _MOST_DIGITS:
        return None
    return [word.lower() for word in _WORD.findall(text)]
