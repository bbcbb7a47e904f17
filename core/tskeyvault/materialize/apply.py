"""``vault apply``: compare what is delivered on this host with what the vault holds, write, and restart units.

All that is to be written is decrypted and checked before the first file is. A service with a
failure is left as it is, and its units are not restarted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from tskeyvault.errors import DeliveryError, NotFoundError, VaultError
from tskeyvault.names import Reference, shown
from tskeyvault.vault import Vault

from . import manifest, place, service, units
from .delivered import Deliveries, Place
from .service import Order


class Delivery(NamedTuple):
    """A service in one directory, and what was found out about it."""

    order: Order
    place: Place
    contents: Mapping[str, bytes]
    changed: tuple[str, ...]
    """The paths of files that are not as they should be."""
    removed: tuple[str, ...]
    """The paths of files that were delivered, and that vault.toml does not name any more."""


class Report(NamedTuple):
    """What is to be done, or was done, for one service."""

    service: str
    deliveries: tuple[Delivery, ...] = ()
    units: tuple[str, ...] = ()
    """To be restarted or reloaded."""
    reload: bool = False
    error: VaultError | None = None
    """Why nothing was done."""

    @property
    def changed(self) -> list[str]:
        """The paths of its files that are not as they should be."""
        return [path for delivery in self.deliveries for path in delivery.changed]

    @property
    def removed(self) -> list[str]:
        """The paths of its files that vault.toml does not name any more."""
        return [path for delivery in self.deliveries for path in delivery.removed]


def places_of(name: str, known: Iterable[Place]) -> list[Place]:
    """Return those of the *known* places where the service *name* is delivered now.

    Raises DeliveryError, IntegrityError when one of them is not safe any more.
    """
    found = []
    for it in known:
        try:
            with place.opened(it.directory, allow_disk=it.allow_disk) as directory:
                delivered = service.is_delivered(directory, name)
                owner = place.owner(directory)
        except NotFoundError:
            continue  # its unit does not run
        if delivered and owner != it.owner:
            raise DeliveryError(
                f"'{shown(it.directory)}' belongs to somebody else since it was delivered to",
                f"restart the unit of service '{name}'",
            )
        if delivered:
            found.append(it)
    return found


def look(vault: Vault, places: Mapping[str, Sequence[Place]], *, restart: bool) -> list[Report]:
    """Return what there is to do for each service in its *places*; nothing is written.

    With *restart* it is also found out which units are to be restarted.
    """
    orders, failed = _orders(vault, places)
    plaintexts, unread = _read(vault, orders)
    failed |= unread
    reports = []
    for name, found in places.items():
        try:
            if name in failed:
                raise failed[name]
            deliveries = [
                _delivery(order, it, plaintexts) for order, it in zip(orders[name], found, strict=True)
            ]
            reports.append(_report(name, deliveries, restart=restart))
        except VaultError as error:
            reports.append(Report(name, error=error))
    return reports


def write(vault: Vault, memory: Deliveries, reports: Iterable[Report]) -> list[Report]:
    """Write what the *reports* say, save where there is an error; return them as they turned out."""
    return [it if it.error else _write(vault, memory, it) for it in reports]


def restart(memory: Deliveries, reports: Sequence[Report]) -> list[Report]:
    """Restart or reload the units of the *reports*, each once, save where there is an error; return them as they turned out."""
    failing: set[str] = set()
    done: set[str] = set()
    for reload in (False, True):
        due = [
            it for report in reports if not report.error and report.reload is reload for it in report.units
        ]
        fresh = [it for it in dict.fromkeys(due) if it not in done]
        failing |= set(units.restart(fresh, reload=reload)) if fresh else set()
        done |= set(fresh)
    return [it if it.error else _settled(memory, it, failing) for it in reports]


def _orders(
    vault: Vault, places: Mapping[str, Sequence[Place]]
) -> tuple[dict[str, list[Order]], dict[str, VaultError]]:
    """Return what is to be delivered of each service in its *places*, and why there is nothing of a service."""
    orders: dict[str, list[Order]] = {}
    failed: dict[str, VaultError] = {}
    for name, found in places.items():
        try:
            orders[name] = [_order(vault, name, it) for it in found]
        except VaultError as error:
            failed[name] = error
    return orders, failed


def _order(vault: Vault, name: str, where: Place) -> Order:
    """Return what the service *name* gets: nothing when ``vault.toml`` does not know it, or its files, any more."""
    if where.manifest:
        return _ordered_by_manifest(vault, name, where)
    described = vault.settings.services.get(name)
    if described is None:
        return Order(name, where.directory, ())
    if not described.files:
        return Order(name, where.directory, (), units=described.units, reload=described.reload)
    return service.order_of(name, where.directory, vault)


def _ordered_by_manifest(vault: Vault, name: str, where: Place) -> Order:
    manifest.refuse_committed(where.manifest, vault.directory)
    try:
        order = manifest.read(where.manifest)
    except NotFoundError as error:
        raise NotFoundError(error.message, f"restart the unit of service '{name}'") from None
    if (order.service, order.directory) != (name, where.directory):
        raise DeliveryError(
            f"'{shown(where.manifest)}' is not that of {shown(where.directory)} any more",
            f"restart the unit of service '{name}'",
        )
    return order


def _read(
    vault: Vault, orders: Mapping[str, Sequence[Order]]
) -> tuple[dict[Reference, bytes], dict[str, VaultError]]:
    """Return the plaintexts for all *orders*, and why those of a service cannot be had."""
    wanted = {name: [it for order in its for it in service.references(order)] for name, its in orders.items()}
    try:
        return vault.read(it for its in wanted.values() for it in its), {}
    except VaultError:
        pass  # one by one it is found which
    found: dict[Reference, bytes] = {}
    failed: dict[str, VaultError] = {}
    for name, references in wanted.items():
        try:
            found |= vault.read(it for it in references if it not in found)
        except VaultError as error:
            failed[name] = error
    return found, failed


def _delivery(order: Order, where: Place, plaintexts: Mapping[Reference, bytes]) -> Delivery:
    contents = service.contents_of(order, plaintexts)
    changed = service.changed(order, contents, allow_disk=where.allow_disk)
    removed = service.left_over(order, allow_disk=where.allow_disk)
    return Delivery(order, where, contents, tuple(map(order.path, changed)), tuple(removed))


def _report(name: str, deliveries: Sequence[Delivery], *, restart: bool) -> Report:
    due = any(it.changed or it.removed or it.place.waiting for it in deliveries)
    # Of a service that is gone nothing says which its units are.
    described = [it.order for it in deliveries if it.order.files or it.order.units]
    listed = dict.fromkeys(unit for order in described for unit in order.units)
    directories = tuple(it.place.directory for it in deliveries)
    using: Sequence[str] = ()
    if restart and due and described:
        try:
            using = units.using(units.Delivery(name, directories), tuple(listed))
        except DeliveryError:
            if any(it.order.files for it in deliveries):
                raise
            # It gets credentials by now, and so has no use for the files that are removed.
    return Report(name, tuple(deliveries), tuple(using), any(order.reload for order in described))


def _write(vault: Vault, memory: Deliveries, report: Report) -> Report:
    try:
        for it in report.deliveries:
            if it.changed or it.removed:
                # Before it is written: or a kill in between would leave the units with what they have.
                _remember(memory, report.service, it.place, waiting=True)
                service.write(vault, it.order, it.contents, allow_disk=it.place.allow_disk)
    except VaultError as error:
        return report._replace(error=error)
    return report


def _settled(memory: Deliveries, report: Report, failing: Collection[str]) -> Report:
    """Remember that the units of *report* have been restarted, or say which were not."""
    if broken := [it for it in report.units if it in failing]:
        doing = "reloaded" if report.reload else "restarted"
        message = f"{', '.join(broken)} could not be {doing}"
        return report._replace(error=DeliveryError(message, f"systemctl status {' '.join(broken)}"))
    if report.units:
        for it in report.deliveries:
            _remember(memory, report.service, it.place, waiting=False)
    return report


def _remember(memory: Deliveries, name: str, where: Place, *, waiting: bool) -> None:
    memory.remember(
        name, where.directory, allow_disk=where.allow_disk, waiting=waiting, manifest=where.manifest
    )
