"""What the roles of a framework may use at most, and whether a wait comes from that.

Pure; part of the allocator. A master cuts offers down to what a role's quota leaves (Mesos's docs/quota.md), so that
agents look small or are not offered at all: only GET /roles tells why. The master is trusted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from roujiamo.errors import ProtocolError
from roujiamo.mesos.resources import JSON, SCALARS, Resources, amount_of, to_fixed
from roujiamo.session.names import listing


class RoleQuota(NamedTuple):
    """A role's limits and what its tasks use of them, in thousandths by the resource's name; no limit is no entry."""

    role: str
    limits: Mapping[str, int]
    used: Mapping[str, int]


def parse_quotas(listed: Iterable[JSON], roles: Sequence[str]) -> tuple[RoleQuota, ...]:
    """Read the `roles` list of GET /roles; one quota for each of `roles` that has limits. Raises ProtocolError."""
    try:
        found = {str(entry["name"]): entry.get("quota", {}) for entry in listed}
        quotas = [
            RoleQuota(role, _fixed(found[role].get("limit", {})), _fixed(found[role].get("consumed", {})))
            for role in roles
            if role in found
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"the master described a role in a way that cannot be read: {error!r}") from error
    return tuple(quota for quota in quotas if quota.limits)


def beyond(quotas: Sequence[RoleQuota], roles: Sequence[str], needed: Resources) -> str | None:
    """Return why `roles` can never have as much as `needed`, or None where they could."""
    for name, amount in zip(SCALARS, needed.thousandths, strict=True):
        limits = [quota.limits[name] for quota in quotas if name in quota.limits]
        # A role without a limit may have it all.
        if len(limits) == len(roles) and sum(limits) < amount:
            whose, its = ("role", "its quota") if len(roles) == 1 else ("roles", "together, by their quotas")
            return (
                f"the {whose} {listing(roles)} may use no more than {amount_of(name, sum(limits))} ({its});"
                f" all hosts together need {amount_of(name, amount)}"
            )
    return None


def waiting(quotas: Sequence[RoleQuota], roles: Sequence[str], missing: Resources, hosts: int) -> str:
    """Return what to say of quotas while so much is missing for so many hosts; "" where they do not matter."""
    if not quotas or len(quotas) < len(roles):
        return ""
    for name, amount in zip(SCALARS, missing.thousandths, strict=True):
        limited = [quota for quota in quotas if name in quota.limits]
        left = sum(max(0, quota.limits[name] - quota.used.get(name, 0)) for quota in limited)
        if len(limited) == len(roles) and left < amount:
            whole = amount_of(name, sum(quota.limits[name] for quota in limited))
            rest = amount_of(name, left) if left else "nothing"
            if len(roles) == 1:
                return f"; the role {roles[0]} has {rest} left of its quota of {whole}"
            return f"; the roles {listing(roles)} have {rest} left of their quotas of {whole} together"
    if hosts > 1:
        return (
            f"; the quota of {listing([quota.role for quota in quotas])} may be offered whole on one agent,"
            " and then the other agents are offered without"
        )
    return ""


def _fixed(amounts: Mapping[str, Any]) -> dict[str, int]:
    return {name: to_fixed(float(amount)) for name, amount in amounts.items() if name in SCALARS}
