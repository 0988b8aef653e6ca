"""Check the named axes of heads and backbones in every test."""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(["eca_ablate.heads", "eca_ablate.backbones"], "shapecheck.shapes")
