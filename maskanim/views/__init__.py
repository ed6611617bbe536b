"""Ways of seeing what was animated: side by side, the masks by themselves, and a clip on one sheet."""

from maskanim.views.beside import side_by_side
from maskanim.views.masks import MaskFolder, check_mask_folder
from maskanim.views.sheet import ContactSheet

__all__ = ["ContactSheet", "MaskFolder", "check_mask_folder", "side_by_side"]
