"""A bundle run in this process, as `python -m monai.bundle run` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run_bundle(bundle: Path, configs: str | list[str], kind: str, **overrides: Any) -> Any:
    """What `python -m monai.bundle run` does, in this process."""
    from monai.bundle import ConfigWorkflow

    names = [configs] if isinstance(configs, str) else configs
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / name) for name in names],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(bundle),
        **overrides,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return workflow
