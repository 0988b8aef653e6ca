"""`report.html`: everything a results folder says, as one file that needs no network."""

from eca_ablate.report.page.write import PAGE_FILE, write_page

__all__ = ["PAGE_FILE", "write_page"]
