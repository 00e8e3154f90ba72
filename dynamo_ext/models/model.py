"""``Model``: finds its app's Meta and engine when it is called, not when it is defined."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.exceptions
import pynamodb.models

from ..binding import context
from ..binding import meta
from ..client.connection import TableConnection
from ..concurrency import generators
from . import batch
from . import deserializer
from . import late_binding
from . import tables
from .keys import ChecksKeys
from .late_binding import DECLARED_META
from .queries import ChecksQueries

_COMPLETE = "_dynamo_ext_complete"
_TTL_IS_ON = "TimeToLive is already enabled"


def _without_meta(namespace: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in namespace.items() if name != "Meta"}


class ModelType(pynamodb.models.MetaModel):
    """The type of models. It keeps the ``Meta`` that a model declares apart from its value in each
    app."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, t.Any],
        discriminator: t.Any = None,
    ) -> ModelType:
        kept = {**_without_meta(namespace), _COMPLETE: False}

        if "Meta" in namespace:
            kept[DECLARED_META] = namespace["Meta"]

        return t.cast(
            ModelType, t.cast(t.Any, super()).__new__(cls, name, bases, kept, discriminator)
        )

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, t.Any],
        discriminator: t.Any = None,
    ) -> None:
        # PynamoDB would fill the declared Meta with its own defaults.
        super().__init__(name, bases, _without_meta(namespace), discriminator)
        setattr(cls, _COMPLETE, True)

    if not t.TYPE_CHECKING:

        @property
        def Meta(cls) -> meta.Meta:
            """The model's ``Meta`` in the current app; outside an app, the declared one."""
            if not cls.__dict__[_COMPLETE]:
                # PynamoDB reads every attribute of the class while it creates it.
                raise AttributeError("Meta")

            declared = late_binding.declared_meta(cls)
            state = context.find_state()

            if state is None or not late_binding.has_table(cls):
                return meta.Meta(declared)

            return state.bind(cls, declared).meta

        @Meta.setter
        def Meta(cls, declared: t.Any) -> None:
            setattr(cls, DECLARED_META, declared)


class _MetaOfItem:
    if not t.TYPE_CHECKING:

        @property
        def Meta(self) -> meta.Meta:
            """The ``Meta`` of the instance's model."""
            return type(self).Meta


class Model(_MetaOfItem, ChecksKeys, ChecksQueries, pynamodb.models.Model, metaclass=ModelType):
    """The base of models: PynamoDB's, bound late to the current app.

    Everything else is as in :class:`pynamodb.models.Model`.
    """

    if t.TYPE_CHECKING:
        Meta: t.Any
        DoesNotExist: type[pynamodb.exceptions.DoesNotExist]

    @classmethod
    def get_or_404(
        cls,
        hash_key: t.Any,
        range_key: t.Any | None = None,
        consistent_read: bool = False,
        attributes_to_get: cabc.Sequence[str] | None = None,
        *,
        message: str = "",
    ) -> t.Self:
        """Get an item, or end the request with 404 Not Found.

        :param hash_key: The hash key.
        :param range_key: The range key, if the model has one.
        :param consistent_read: Whether to read consistently.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :param message: The description of the 404.
        :return: The item.
        :raises werkzeug.exceptions.NotFound: if there is no such item.
        :raises pynamodb.exceptions.GetError: if the call fails.
        """
        try:
            return cls.get(hash_key, range_key, consistent_read, attributes_to_get)
        except cls.DoesNotExist:
            abort_not_found(message)

    @classmethod
    def first_or_404(cls, message: str = "") -> t.Self:
        """Get the first item of a scan, or end the request with 404 Not Found.

        :param message: The description of the 404.
        :return: The item.
        :raises werkzeug.exceptions.NotFound: if the table has no item of this model.
        :raises pynamodb.exceptions.ScanError: if the call fails.
        """
        # In a table that models share, the first item of this one may come after many others.
        page_size = None if cls._get_discriminator_attribute() else 1

        for item in cls.scan(page_size=page_size):
            return item

        abort_not_found(message)

    @classmethod
    def from_raw_data(cls, data: dict[str, t.Any] | None) -> t.Self:
        """Make an instance of an item, with a plan that is created once for each class.

        :param data: The item, as botocore gives it.
        :return: An instance of this model, or of the subclass that the item's discriminator names.
        :raises ValueError: if the item is ``None``.
        """
        if data is None:
            return super().from_raw_data(t.cast(t.Any, data))

        instance: t.Self = deserializer.of(cls).read(data)
        return instance

    @classmethod
    def batch_get(
        cls,
        items: cabc.Iterable[t.Any],
        consistent_read: bool | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> cabc.Iterator[t.Self]:
        """Get many items. A page is requested when its first item is asked for.

        Other than in PynamoDB, keys that DynamoDB leaves unprocessed are sent again after a wait
        that grows, and an invalid key is an error of this call.

        :param items: Hash keys, or pairs of hash and range key, or dictionaries of what makes a
            key, by the names of the model's attributes. Duplicates count once.
        :param consistent_read: Whether to read consistently.
        :param attributes_to_get: The names of the attributes to read; ``None`` for all.
        :return: The items, in any order. To iterate raises :exc:`~dynamo_ext.UnprocessedKeys` if
            DynamoDB leaves every key unprocessed, time after time, and
            :exc:`pynamodb.exceptions.GetError` if a call fails.
        :raises ValueError: if a key is not of that form.
        """
        return batch.get(batch.begin_get(cls, items, consistent_read, attributes_to_get))

    @classmethod
    def batch_write(cls, auto_commit: bool = True) -> batch.BatchWrite[t.Self]:
        """Write many items, in a ``with`` block.

        Other than in PynamoDB, an exception in the block writes nothing of what is pending, and
        items that DynamoDB leaves unprocessed are sent again after a wait that grows.

        :param auto_commit: Whether to write whenever 25 items are pending, not only at the end.
        :return: The batch.
        """
        return batch.BatchWrite(cls, late_binding.connection(cls), auto_commit)

    @classmethod
    def create_table(
        cls,
        wait: bool = False,
        read_capacity_units: int | None = None,
        write_capacity_units: int | None = None,
        billing_mode: str | None = None,
        ignore_update_ttl_errors: bool = False,
    ) -> t.Any:
        """Create the table, with its indexes and TTL, unless it exists.

        :param wait: Whether to wait until the table is active.
        :param read_capacity_units: Instead of the Meta's or the app's.
        :param write_capacity_units: Instead of the Meta's or the app's.
        :param billing_mode: Instead of the Meta's or the app's. Where none of the three is set,
            ``PROVISIONED`` if a capacity is set anywhere, else ``PAY_PER_REQUEST``.
        :param ignore_update_ttl_errors: Whether an engine may lack TTL.
        :raises ConfigError: if the mode is ``PROVISIONED`` and a capacity is missing.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        creation = tables.create(
            [cls],
            wait=wait,
            read_capacity_units=read_capacity_units,
            write_capacity_units=write_capacity_units,
            billing_mode=billing_mode,
            ignore_update_ttl_errors=ignore_update_ttl_errors,
        )
        generators.run(creation)

    @classmethod
    def delete_table(cls, *, wait: bool = False) -> t.Any:
        """Delete the table.

        :param wait: Whether to wait until the table is gone.
        :return: DynamoDB's reply.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        return generators.run(tables.delete(cls, wait=wait))

    @classmethod
    def update_ttl(cls, ignore_update_ttl_errors: bool) -> None:
        """Enable the TTL that the model declares. One that is enabled already is left alone.

        :param ignore_update_ttl_errors: Whether an engine may lack TTL.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        try:
            super().update_ttl(ignore_update_ttl_errors)
        except pynamodb.exceptions.TableError as error:
            if _TTL_IS_ON not in str(error):
                raise

    @classmethod
    def _get_connection(cls) -> TableConnection:
        return late_binding.connection(cls)


def abort_not_found(message: str) -> t.NoReturn:
    """End the current request with 404 Not Found.

    :param message: The description of the 404; if empty, Werkzeug's own.
    :raises werkzeug.exceptions.NotFound: always.
    """
    context.app().aborter(404, description=message or None)


def concrete_models(base: type[Model] = Model) -> list[type[Model]]:
    """All models that have a table, in the order of their definition.

    :param base: The model whose subclasses are meant, at any depth.
    """
    models: list[type[Model]] = []

    for model in base.__subclasses__():
        if late_binding.has_table(model):
            models.append(model)

        models += concrete_models(model)

    return list(dict.fromkeys(models))
