"""The targets of the configuration file and the discovered ones together: no name twice, no client id shared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.model import Target


@dataclass(frozen=True, slots=True)
class Merged:
    """All targets, those of the file first. `left_out` says of each source which of its targets cannot be had."""

    targets: tuple[Target, ...]
    left_out: Mapping[str, tuple[str, ...]]


def merge_targets(
    written: Iterable[Target], discovered: Mapping[str, Iterable[Target]], before: Iterable[Target]
) -> Merged:
    """Merge; `discovered` has the targets of each source by its name.

    A target of the file comes first, then the sources in their order. One that is equal to a target of `before` is that
    very object.
    """
    known = {target.name: target for target in before}
    merged: dict[str, tuple[str, Target]] = {}
    owners: dict[tuple[str, int], str] = {}  # of the client ids at an endpoint: the target's name
    left_out: dict[str, list[str]] = {}
    for source, targets in {"": written, **discovered}.items():
        for target in targets:
            clash = _clash(source, target, merged, owners) if source else None
            if clash is not None:
                if clash:
                    left_out.setdefault(source, []).append(clash)
                continue
            old = known.get(target.name)
            merged[target.name] = source, (old if old is not None and old == target else target)
            owners.update(dict.fromkeys(_ids(target), target.name))
    return Merged(
        tuple(target for _, target in merged.values()),
        {source: tuple(texts) for source, texts in left_out.items()},
    )


def _clash(
    source: str, target: Target, merged: Mapping[str, tuple[str, Target]], owners: Mapping[tuple[str, int], str]
) -> str | None:
    """Why the target cannot be had; None: it can. Empty for the same target once more, which is no fault."""
    if target.name in merged:
        first, other = merged[target.name]
        if other == target:
            return ""
        where = "in the configuration file" if not first else "in the same list" if first == source else f"in {first}"
        return f"{target.endpoint}: there is a target named {target.name} {where}: give each its own __param_name"
    owner = next((owners[key] for key in _ids(target) if key in owners), None)
    if owner is not None:
        return (
            f"{target.name}: the target {owner} probes the same gateway with the same client ids: "
            "list it once, or give each its own __param_client_ids"
        )
    return None


def _ids(target: Target) -> Iterable[tuple[str, int]]:
    endpoint = target.endpoint.lower()
    return [(endpoint, client_id) for client_id in target.client_ids]
