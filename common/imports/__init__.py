"""Imports: what other tools write about an environment, as a contract to look at before it is submitted.

Nothing is executed, fetched or included. What cannot be said in a contract is named, never dropped in silence.
"""

from __future__ import annotations

from common.imports.draft import Imported, Runtime
from common.imports.formats import FORMATS, convert, format_of

__all__ = ["FORMATS", "Imported", "Runtime", "convert", "format_of"]
