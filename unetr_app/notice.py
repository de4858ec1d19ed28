"""Notices: what every picture, report and window shows, and what is said without torch."""

RESEARCH_NOTICE = "Research use only. Not for diagnosis."

NETWORK_MODULES = frozenset(
    {"einops", "fire", "ignite", "itk", "monai", "safetensors", "tensorboard", "torch", "tqdm"}
)
"""What the extra ``inference`` brings; nothing else of ours imports them."""

NETWORK_ADVICE = (
    'Networks need torch and MONAI, which are not installed: pip install "unetr-app[inference]".'
)
