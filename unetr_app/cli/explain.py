"""``unetr explain``: what an encoder sees, where it looks, and what it tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED
from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import complain, counted, note, say, show_table
from unetr_app.cli.stopping import StopRequest
from unetr_app.cli.trusting import TrustOption
from unetr_app.errors import InvalidRequest
from unetr_app.notice import RESEARCH_NOTICE

if TYPE_CHECKING:
    from unetr_app.cases import Case
    from unetr_app.explain.explainer import Explainer
    from unetr_app.explain.receptive_field import ReceptiveField
    from unetr_app.explain.request import Request
    from unetr_app.explain.runner import Explained
    from unetr_app.labels import LabelSet

EXAMPLES = """Examples:
  unetr explain scan.nii.gz -o seen -b hippocampus_mr_unetr_segmentation --at 12,24,16
  unetr explain imagesTr/ -o seen -b my_bundle/ --what tsne --labels labelsTr/
  unetr explain -o seen --encoder segformer --what erf --roi-size 64
  unetr explain scan.nii.gz -o seen --load dinov2/ --option patch_size=8 --roi-size 64

Exit codes: 0 all done, 2 usage, 3 some cases failed, 4 none done.
"""


def command(
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="Folder for the results.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE", show_default=False,
            help="Images, and folders to search: NIfTI, NRRD, MHA, DICOM. Without any, the "
                 "receptive field is taken from noise.",
        ),
    ] = None,
    bundle: Annotated[
        str,
        typer.Option(
            "-b", "--bundle", metavar="NAME|DIR",
            help="Whose encoder, and whose preprocessing; see `unetr bundles`.",
        ),
    ] = "",
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="NAME", help="An untrained encoder instead.")
    ] = "",
    load: Annotated[
        str, typer.Option("--load", metavar="CHECKPOINT", help="A pretrained encoder instead.")
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="NAME=VALUE", show_default=False,
            help="Of --encoder or --load, as in patch_size=8; may come several times.",
        ),
    ] = None,
    roi: Annotated[
        str,
        typer.Option(
            "--roi-size", metavar="N|I,J,K", show_default="96, or the bundle's",
            help="Voxels of the input, for --encoder and --load.",
        ),
    ] = "",
    what: Annotated[
        str,
        typer.Option(
            "--what", metavar="A,B", show_default="all that can be shown",
            help="Of erf (effective receptive field), attention, tsne.",
        ),
    ] = "",
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="REF", help="Folder of label maps, to colour t-SNE by."),
    ] = None,
    points: Annotated[
        str,
        typer.Option(
            "--points", metavar="WHAT",
            help="Of t-SNE: voxels (of a map), labels (a case's mean each), cases.",
        ),
    ] = "voxels",
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="I,J,K", show_default="class token, else the middle",
            help="Voxel of the image whose attention is shown, counted from 0.",
        ),
    ] = "",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Of weights, noise, samples and t-SNE.")
    ] = 0,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")
    ] = "auto",
    trust_it: TrustOption = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the results only.")] = False,
) -> None:  # fmt: skip
    """Show how an encoder sees: effective receptive field, attention, t-SNE of its features.

    Writes pictures, arrays (.npz) and volumes (.nii.gz on the model grid).
    """
    from unetr_app.bundle.trust import trust
    from unetr_app.cli.chosen_encoder import EncoderWords, open_explainer, parse_triple

    if not out:
        raise InvalidRequest("no output folder is named", cure="Add -o with a folder.")
    if trust_it and bundle:
        trust(bundle)
    wanted = tuple(dict.fromkeys(filter(None, (word.strip() for word in what.split(",")))))
    voxel = parse_triple(at, "--at")
    with StopRequest() as stop:
        with stop.at_once():
            cases = _cases(inputs or [], bundle, Path(out), quiet=quiet)
            if inputs and not cases:
                raise typer.Exit(NONE_DONE)
            request = _request(
                wanted or _possible(images=bool(cases), quiet=quiet),
                labels, bundle, lenient=not wanted, at=voxel, points=points, seed=seed,
            )  # fmt: skip
            explainer, said = open_explainer(
                EncoderWords(bundle, encoder, load, option or (), roi, seed, device)
            )
        if said and not quiet:
            note(said)
        result = _explain(explainer, cases, out, request, stop=stop, quiet=quiet)
        _show(result, len(cases), out)
    raise typer.Exit(_exit_code(result, len(cases)))


def _cases(inputs: list[str], bundle: str, out: Path, *, quiet: bool) -> list[Case]:
    """The images that were named, without what an earlier run wrote."""
    from unetr_app.bundle import read_card
    from unetr_app.cases import survey

    if not inputs:
        return []
    found = survey(inputs, channels=read_card(bundle).channels if bundle else ())
    root = out.resolve()
    cases = [c for c in found.cases if not Path(c.paths[0]).resolve().is_relative_to(root)]
    if found.passed_over and not quiet:
        note(f"{counted(found.passed_over, 'file')} passed over: no images")
    if not cases:
        note("unetr explain: no images were found. See which files are images: unetr inspect.")
    return cases


def _possible(*, images: bool, quiet: bool) -> tuple[str, ...]:
    """What can be shown, where the user does not say."""
    from unetr_app.explain import has_embedding

    if not images:
        return ("erf",)
    if has_embedding():
        return ("erf", "attention", "tsne")
    if not quiet:
        note('No t-SNE: it needs scikit-learn (pip install "unetr-app[explain]").')
    return ("erf", "attention")


def _request(what: tuple[str, ...], labels: Path | None, bundle: str, **said: Any) -> Request:
    """What is wanted, with the label maps found and named."""
    from unetr_app.explain import Request
    from unetr_app.scoring.pairs import label_maps

    if labels is None or "tsne" not in what:
        return Request(what, **said)
    if not labels.is_dir():
        raise InvalidRequest("--labels is no folder", path=labels)
    references = label_maps(labels)
    return Request(what, references=references, names=_names(references, bundle), **said)


def _names(references: dict[str, Path], bundle: str) -> LabelSet:
    """What label values mean: the data set says it, or the bundle."""
    from unetr_app.bundle import read_card
    from unetr_app.labels import LabelSet
    from unetr_app.scoring import Pair, Pairs, find_labels

    case_id, path = next(iter(references.items()))
    told = find_labels(Pairs((Pair(case_id, path, path),)))
    if not told and bundle:
        return read_card(bundle).labels
    return told or LabelSet(())


def _explain(
    explainer: Explainer, cases: list[Case], out: str, request: Request, *,
    stop: StopRequest, quiet: bool,
) -> Explained:  # fmt: skip
    from unetr_app.explain import explain

    with count_bar("explaining", quiet=quiet) as progress:
        return explain(
            explainer, cases, Path(out), request, progress=progress,
            should_stop=lambda: stop.is_made,
        )  # fmt: skip


def _show(result: Explained, cases: int, out: str) -> None:
    """Print the table of radii, what failed, and where things are."""
    for words in result.notes:
        note(f"Note: {words}")
    for case_id, problem in result.failures.items():
        complain(f"{case_id}: {problem}", program="failed")
    if result.fields:
        columns = ("Map", ">Stride", ">Channels", ">Reach", ">Radius 50 %", ">95 %", ">95 % in mm")
        show_table(columns, [_row(field, result.spacing_mm) for field in result.fields])
        say("Effective receptive field: radius along i x j x k, in voxels; reach: whole length.")
    for path in result.written:
        say(f"Written: {path}")
    if cases:
        say(f"{counted(cases, 'image')}: {len(result.done)} done, {len(result.failures)} failed.")
    if result.written:
        say(f"Arrays and volumes are in {out}.")
        say(RESEARCH_NOTICE)


def _row(field: ReceptiveField, spacing_mm: tuple[float, float, float] | None) -> tuple[str, ...]:
    from unetr_app.explain import in_words

    half, most = (field.radius(share) for share in (0.5, 0.95))
    mm = "-"
    if spacing_mm is not None:
        mm = in_words([n * s for n, s in zip(most, spacing_mm, strict=True)])
    return (
        str(field.level), in_words(field.stride), str(field.channels), in_words(field.extent),
        in_words(half), in_words(most), mm,
    )  # fmt: skip


def _exit_code(result: Explained, cases: int) -> int:
    if not result.failures:
        return ALL_DONE
    return SOME_FAILED if len(result.failures) < cases else NONE_DONE
