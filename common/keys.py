"""Every Redis key, by name. `ledger_lua/` builds the same names; its header says what each holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Key names under one prefix, so that several installations can share a Redis."""

    prefix: str

    # the ledger's own: written by ledger_lua/ alone
    def environment(self, env_id: str) -> str:
        return f"{self.prefix}:env:{env_id}"

    def contract(self, env_id: str) -> str:
        return f"{self.prefix}:contract:{env_id}"

    def events(self, env_id: str) -> str:
        return f"{self.prefix}:events:{env_id}"

    def environments(self, owner: str | None = None) -> str:
        return f"{self.prefix}:envs:{owner}" if owner else f"{self.prefix}:envs"

    def host(self, name: str) -> str:
        return f"{self.prefix}:host:{name}"

    def hosts(self) -> str:
        return f"{self.prefix}:hosts"

    def allocations(self, host: str) -> str:
        return f"{self.prefix}:allocs:{host}"

    def shapes(self) -> str:
        return f"{self.prefix}:shapes"

    def queue(self, shape: str) -> str:
        return f"{self.prefix}:queue:{shape}"

    def ledger(self) -> str:
        return f"{self.prefix}:ledger"

    def wake(self, host: str) -> str:
        return f"{self.prefix}:wake:{host}"

    def feed(self) -> str:
        """Pub/sub channel: each event as JSON with `env` and `id`."""
        return f"{self.prefix}:feed"

    # beside the ledger, each with one owner
    def control(self, host: str) -> str:
        """List: requests to the worker of a host (`common.channel`)."""
        return f"{self.prefix}:control:{host}"

    def channel_in(self, channel: str) -> str:
        return f"{self.prefix}:channel:{channel}:in"

    def channel_out(self, channel: str) -> str:
        return f"{self.prefix}:channel:{channel}:out"

    def build_log(self, env_id: str) -> str:
        """Stream: lines of the build log (`common.buildlog`)."""
        return f"{self.prefix}:log:{env_id}"

    def lock(self, env_id: str) -> str:
        """String: the lock of an environment's libraries (`common.locks`)."""
        return f"{self.prefix}:lock:{env_id}"

    def stats(self, env_id: str) -> str:
        """Stream: what an environment uses, over time (`common.stats`)."""
        return f"{self.prefix}:stats:{env_id}"

    def messages(self, host: str) -> str:
        """List: messages that the worker of a host has not received yet (`common.celery_app`)."""
        return f"{self.prefix}:celery:host.{host}"

    def user(self, name: str) -> str:
        return f"{self.prefix}:user:{name}"

    def users(self) -> str:
        return f"{self.prefix}:users"

    def api_token(self, token_id: str) -> str:
        return f"{self.prefix}:apitoken:{token_id}"

    def api_tokens(self, user: str) -> str:
        return f"{self.prefix}:apitokens:{user}"

    def session(self, digest: str) -> str:
        """Hash: a session of the pages (`common.sessions`)."""
        return f"{self.prefix}:session:{digest}"

    def identity(self, digest: str) -> str:
        """String: the account of somebody at an OpenID provider (`common.identities`)."""
        return f"{self.prefix}:identity:{digest}"

    def pending(self, kind: str, digest: str) -> str:
        """String: what somebody has begun (`common.pending`)."""
        return f"{self.prefix}:pending:{kind}:{digest}"

    def attempts(self, kind: str, who: str) -> str:
        """String: how often somebody tried to sign in (`common.attempts`)."""
        return f"{self.prefix}:attempts:{kind}:{who}"

    def rate(self, who: str, window: int) -> str:
        """String: requests of somebody within a window of time (`common.rates`)."""
        return f"{self.prefix}:rate:{window}:{who}"

    def idempotent(self, user: str, key: str) -> str:
        """String: the answer to a call that may come again (`api.idempotency`)."""
        return f"{self.prefix}:idempotent:{user}:{key}"

    def audit(self) -> str:
        """Stream: the newest entries of the audit log (`common.audit`)."""
        return f"{self.prefix}:audit"

    def secret(self, name: str) -> str:
        """String: a random secret of this installation, for signing."""
        return f"{self.prefix}:secret:{name}"

    def template(self, name: str) -> str:
        """String: a named contract as JSON (`common.templates`)."""
        return f"{self.prefix}:template:{name}"

    def templates(self) -> str:
        """Sorted set: the names of all templates; scores 0."""
        return f"{self.prefix}:templates"

    def templates_of(self, owner: str) -> str:
        """Set: the names of an owner's templates."""
        return f"{self.prefix}:templates:{owner}"

    def templates_shipped(self) -> str:
        """Set: the names of templates that came with DCloud, those that were deleted since among them."""
        return f"{self.prefix}:templatesshipped"

    def webhook(self, hook_id: str) -> str:
        """String: a webhook as JSON (`common.webhooks`)."""
        return f"{self.prefix}:webhook:{hook_id}"

    def webhooks_of(self, owner: str) -> str:
        """Set: ids of an owner's webhooks."""
        return f"{self.prefix}:webhooks:{owner}"

    def webhook_owners(self) -> str:
        """Set: who has webhooks."""
        return f"{self.prefix}:webhookowners"

    def webhooks_told(self, owner: str) -> str:
        """Hash: id of an environment → its last event that was looked at, and the state after it."""
        return f"{self.prefix}:webhookstold:{owner}"

    def webhook_delivery(self, delivery_id: str) -> str:
        """String: a message that must reach somebody, as JSON."""
        return f"{self.prefix}:webhookdelivery:{delivery_id}"

    def webhook_busy(self, delivery_id: str) -> str:
        """String: somebody tries this delivery."""
        return f"{self.prefix}:webhookbusy:{delivery_id}"

    def webhook_due(self) -> str:
        """Sorted set: ids of deliveries by the time of the next try."""
        return f"{self.prefix}:webhookdue"
