"""The OpenAPI document: each route says beside itself what it takes and gives, and here that becomes one document."""

from __future__ import annotations

from api.openapi.described import Operation, described, parameter

__all__ = ["Operation", "described", "parameter"]
