"""Check the named axes of heads and backbones in every test, and let no property fail for being slow once."""

from __future__ import annotations

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook(["eca_ablate.heads", "eca_ablate.backbones"], "shapecheck.shapes")

settings.register_profile("eca_ablate", deadline=None)
settings.load_profile("eca_ablate")
