"""``unetr segment``: one bundle over many images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli import pacs
from unetr_app.cli.batch_end import exit_code, show_cases, show_end
from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE
from unetr_app.cli.networks import require_networks
from unetr_app.cli.progress import count_bar, progress_view
from unetr_app.cli.screen import counted, note, say, show_table
from unetr_app.cli.series_rules import (
    DescriptionOption,
    ModalityOption,
    RulesOption,
    SlicesOption,
    chosen_rules,
)
from unetr_app.cli.stopping import StopRequest
from unetr_app.cli.trusting import TrustOption
from unetr_app.cli.version import VersionOption
from unetr_app.errors import InvalidRequest

if TYPE_CHECKING:
    from unetr_app.batch.options import BatchOptions
    from unetr_app.batch.outcome import BatchResult
    from unetr_app.batch.segmenting import OnDemand, SegmentsVolumes
    from unetr_app.bundle import BundleCard
    from unetr_app.cases import Found, Rules


EXAMPLES = """Examples:
  unetr segment scan.nii.gz -o results -b hippocampus_mr_unetr_segmentation
  unetr segment scans/ dicom/ -o results -b my_bundle/ --labels 1,2 --split-labels
  unetr segment dicom/ -o results -b my_bundle/ --format nifti,dicom-seg,dicom-sr
  unetr segment scans/ -o results -b my_bundle/ --dry-run
  unetr segment dicomweb://pacs.example.org/dicom-web --study UID -o results -b my_bundle/
  unetr segment pacs/ -o results -b my_bundle/ --modality CT --min-slices 40 --dry-run

Exit codes: 0 all done, 2 usage (nothing was begun), 3 some cases failed,
4 none done, 130 and 143 stopped by a signal.
"""


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Images, and folders to search: NIfTI, NRRD, MHA, DICOM; archives (.zip); lists; "
            "or a PACS: dicomweb://HOST[:PORT]/PATH.",
        ),
    ],
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="Folder for the results.")
    ],
    bundle: Annotated[
        str,
        typer.Option("-b", "--bundle", metavar="NAME|DIR", help="See `unetr bundles`."),
    ] = "",
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")
    ] = "auto",
    labels: Annotated[
        str,
        typer.Option(
            "--labels", metavar="A,B", help="Keep these labels only, by name or value.",
            show_default="all",
        ),
    ] = "",
    split_labels: Annotated[
        bool, typer.Option("--split-labels", help="Write a binary mask for each label too.")
    ] = False,
    formats: Annotated[
        str,
        typer.Option(
            "--format", metavar="A,B", show_default="nifti; of a PACS nifti,dicom-seg",
            help="nifti, nrrd, dicom-seg, rtstruct, dicom-sr (measurement report), dicom-sc "
            "(the picture); several at once.",
        ),
    ] = "",
    seg_type: Annotated[
        str,
        typer.Option(
            "--seg-type", metavar="TYPE",
            help="Of DICOM SEG: binary, labelmap, fractional, or auto for binary up to ten labels.",
        ),
    ] = "auto",
    jobs: Annotated[
        int,
        typer.Option(
            "-j", "--jobs", metavar="N",
            help="Cases read ahead, and written, while the network runs; 0 needs least memory.",
        ),
    ] = 1,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write probabilities of each channel too.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write how undecided each voxel is too (entropy).")
    ] = False,
    memory_limit: Annotated[
        str,
        typer.Option(
            "--memory-limit", metavar="SIZE", show_default="none",
            help="Such as 4GiB: what finds no room waits on disk, or the case is refused.",
        ),
    ] = "",
    backend: Annotated[
        str,
        typer.Option(
            "--backend", metavar="NAME",
            help="auto (the fastest that gives torch's answer), torch, openvino, onnxruntime.",
        ),
    ] = "auto",
    restore: Annotated[
        str,
        typer.Option(
            "--restore", metavar="bundle|logits",
            help="Labels as the bundle makes them, or always from logits on the image's own grid.",
        ),
    ] = "bundle",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights", metavar="FILE", show_default="the bundle's",
            help="Weights for its network; several are averaged. May come several times.",
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            "--overlap", metavar="SHARE", show_default="the bundle's",
            help="Of a window that the next one covers, 0 to less than 1.",
        ),
    ] = None,
    flips: Annotated[
        str,
        typer.Option(
            "--flips", metavar="I,J,K|none", show_default="the bundle's",
            help="Average mirror images along these axes of the model grid, such as i,j.",
        ),
    ] = "",
    localise: Annotated[
        bool,
        typer.Option(
            "--localise", help="Look roughly first, and finely only where something was found."
        ),
    ] = False,
    modality: ModalityOption = "",
    description: DescriptionOption = "",
    min_slices: SlicesOption = 0,
    rules: RulesOption = "",
    skip: Annotated[
        bool,
        typer.Option("--skip/--no-skip", help="Compute windows of one constant value once only."),
    ] = True,
    study: pacs.StudyOption = "",
    series: pacs.SeriesOption = None,
    store: pacs.StoreOption = True,
    download: pacs.DownloadOption = "",
    plain_http: pacs.PlainHttpOption = False,
    trust_it: TrustOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take images unlike those the bundle was trained on.")
    ] = False,
    regularise: Annotated[
        bool,
        typer.Option(
            "--regularise", help="Resample DICOM slices with gaps or uneven distances; recorded."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Redo cases that are already done.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview/--no-preview", help="Draw a picture of each case.")
    ] = True,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print failures only.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Keep details of unexpected errors in OUT/debug.log."),
    ] = False,
    version: VersionOption = False,
) -> None:  # fmt: skip
    """Segment images and write a label map, measurements and a picture for each.

    Cases that are already done are left as they are unless input, bundle or options have changed.
    """
    from unetr_app.batch.options import BatchOptions
    from unetr_app.bundle.trust import require_trusted, trust
    from unetr_app.inference.options import InferenceOptions, parse_axes, parse_bytes

    _check(out, device)
    chosen = chosen_rules(modality, description, min_slices, rules)
    card = _card(bundle)
    wanted: tuple[int | str, ...] = tuple(labels.strip(", ").split(",")) if labels else ()
    if card.labels_are_certain or "" in wanted:
        wanted = card.labels.subset(wanted).values
    options = BatchOptions(
        labels=wanted,
        split_labels=split_labels,
        formats=tuple((formats or _usual_formats(inputs)).split(",")),
        seg_type=seg_type,
        preview=preview,
        force=force,
        regularise=regularise,
        overwrite=overwrite,
        jobs=jobs,
        maps=tuple(compress(("probabilities", "uncertainty"), (probabilities, uncertainty))),
        inference=InferenceOptions(
            backend=backend,
            weights=tuple(weights or ()),
            restore=restore,
            overlap=overlap,
            flips=parse_axes(flips) if flips else None,
            localise=localise,
            skip=skip,
            memory_limit=parse_bytes(memory_limit) if memory_limit else None,
        ),
        debug=debug,
    )
    if not weights:
        card.require_weights()
    if not dry_run:
        if trust_it:
            trust(card.path)
        require_trusted(card.path)
    asked = pacs.Asked(study, tuple(series or ()), download, plain_http)
    with StopRequest() as stop, pacs.remote_input(inputs, asked) as remote:
        if remote and dry_run:
            with stop.at_once():
                raise typer.Exit(remote.show())
        with pacs.local_input(inputs, remote, at_once=stop.at_once, quiet=quiet) as local:
            found = _find(local, out, card.channels, rules=chosen, stop=stop, quiet=quiet)
            if dry_run:
                with stop.at_once():
                    raise typer.Exit(_show_plan(found, card, out, options))
            found = remote.named(found) if remote else found
            segmenter = _on_demand(card, device, options, stop)
            result = _segment(found, segmenter, out, options=options, quiet=quiet, stop=stop)
        code = exit_code(result)
        if remote:
            with stop.at_once():
                stored = remote.store(out, result, quiet=quiet) if store else True
            code = remote.exit_code(code, stored=stored)
    raise typer.Exit(code)


def _usual_formats(inputs: Sequence[str]) -> str:
    """What goes back to a PACS must be DICOM."""
    from unetr_app.io.dicom.web.address import is_address

    return "nifti,dicom-seg" if any(map(is_address, inputs)) else "nifti"


def _check(out: str, device: str) -> None:
    if not out:
        raise InvalidRequest("no output folder is named", cure="Add -o with a folder.")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise InvalidRequest(
            f"there is no device {device!r}", cure="Use auto, cpu, cuda or cuda:N."
        )


def _card(bundle: str) -> BundleCard:
    from unetr_app.bundle import list_bundles, read_card

    if not bundle:
        names = ", ".join(card.name for card in list_bundles()) or "none"
        raise InvalidRequest(
            "no bundle is named", cure=f"Add --bundle with a folder or one of these: {names}."
        )
    return read_card(bundle)


def _find(
    inputs: Sequence[str], out: str, channels: tuple[str, ...], *, rules: Rules | None,
    stop: StopRequest, quiet: bool,
) -> Found:  # fmt: skip
    from unetr_app.batch.inputs import find_inputs

    with stop.at_once(), count_bar("looking at files", quiet=quiet) as bar:
        found = find_inputs(inputs, out=out, channels=channels, rules=rules, on_progress=bar)
    if found.passed_over and not quiet:
        note(f"{counted(found.passed_over, 'file')} passed over: no images")
    if found.set_aside and not quiet:
        note(f"{counted(found.set_aside, 'DICOM file')} set aside: no part of a volume")
    if found.left_out and not quiet:
        note(f"{counted(found.left_out, 'image')} left out: no rule admits them")
    for said in found.notes:
        note(f"unetr segment: {said}")
    if not found.cases and not found.notes:
        note("unetr segment: no images were found. See which files are images: unetr inspect.")
    return found


def _show_plan(found: Found, card: BundleCard, out: str, options: BatchOptions) -> int:
    from unetr_app.batch.plan import plan_batch

    plan = plan_batch(found.cases, card, out=out, options=options)
    words = {"do": "would be segmented", "skip": "would be left", "wait": "would be left to it",
             "fail": "would fail"}  # fmt: skip
    rows = [(p.case_id, words[p.action], p.reason) for p in plan]
    if rows:
        show_table(("Case", "What", "Why"), rows)
    counts = {action: sum(p.action == action for p in plan) for action in words}
    said = ", ".join(f"{count} {words[action]}" for action, count in counts.items() if count)
    say(f"{counted(len(plan), 'case')}: {said or 'nothing to do'}. Nothing was done (--dry-run).")
    return ALL_DONE if plan else NONE_DONE


def _on_demand(card: BundleCard, device: str, options: BatchOptions, stop: StopRequest) -> OnDemand:
    """The bundle, opened when the first image comes; then labels that it has not are refused."""
    from unetr_app.batch.segmenting import OnDemand

    def opened() -> SegmentsVolumes:
        with stop.at_once():
            from unetr_app.inference.segmenter import Segmenter

            opened = Segmenter.open(
                card.path, device=device, options=options.inference, ask_trust=True
            )
            opened.card.labels.subset(options.labels)
            return opened

    return OnDemand(card, opened)


def _segment(
    found: Found,
    segmenter: OnDemand,
    out: str,
    *,
    options: BatchOptions,
    quiet: bool,
    stop: StopRequest,
) -> BatchResult | None:
    from unetr_app.batch.runner import run_batch

    if not found.cases:
        return None
    require_networks()
    with progress_view(quiet=quiet) as view:
        result = run_batch(
            found.cases, segmenter, out=out, options=options, on_progress=view,
            should_stop=lambda: stop.is_made,
        )  # fmt: skip
    if not quiet:
        show_cases(result, out)
        if words := segmenter.backend_words:
            say(f"The network was run by {words}")
    show_end(result, out, quiet=quiet)
    return result
