"""Who calls, and what they may."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("user", "admin")
SCOPES = ("read", "submit", "admin")


@dataclass(frozen=True)
class Principal:
    """The user behind a request, the role, and what the token or the session may do."""

    user: str
    role: str
    scopes: frozenset[str]
    token_id: str = ""  # "" is a session that began with a password or at a provider
    expires_at: float | None = None  # when the token ends, in seconds since the epoch; None is never

    @property
    def admin(self) -> bool:
        """Whether everything may be seen and done."""
        return self.role == "admin" and "admin" in self.scopes
