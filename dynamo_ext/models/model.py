"""``Model``: finds its app's Meta and engine when it is called, not when it is defined."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pynamodb.exceptions
import pynamodb.models
from pynamodb import constants

from ..binding import context
from ..binding import meta
from ..client.connection import TableConnection
from ..concurrency import generators
from . import batch
from . import tables
from .deserializer import Deserializer

_DECLARED = "_dynamo_ext_declared_meta"
_COMPLETE = "_dynamo_ext_complete"
_DESERIALIZER = "_dynamo_ext_deserializer"
_TTL_IS_ON = "TimeToLive is already enabled"


def _without_meta(namespace: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: value for name, value in namespace.items() if name != "Meta"}


class ModelType(pynamodb.models.MetaModel):
    """The type of models. Keeps the ``Meta`` that a model declares apart from what apps make of
    it."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, t.Any],
        discriminator: t.Any = None,
    ) -> ModelType:
        kept = {**_without_meta(namespace), _COMPLETE: False}

        if "Meta" in namespace:
            kept[_DECLARED] = namespace["Meta"]

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
            """What holds for this model in the current app; outside an app, what it declares."""
            if not cls.__dict__[_COMPLETE]:
                # PynamoDB looks at every attribute while it makes the class.
                raise AttributeError("Meta")

            declared = cls.declared_meta()
            state = context.find_state()

            if state is None or getattr(declared, "table_name", None) is None:
                return meta.Meta(declared)

            return state.bind(cls).meta

        @Meta.setter
        def Meta(cls, declared: t.Any) -> None:
            setattr(cls, _DECLARED, declared)

    def declared_meta(cls) -> t.Any:
        """The ``Meta`` that this model declares or inherits.

        :raises AttributeError: if there is none.
        """
        try:
            return getattr(cls, _DECLARED)
        except AttributeError:
            raise AttributeError(
                f"{cls.__module__}.{cls.__qualname__} has no 'Meta':"
                " a model needs 'class Meta:' with a 'table_name'."
            ) from None

    def effective_meta(cls) -> t.Any:
        """What holds for this model in the current app."""
        return t.cast("type[Model]", cls).Meta

    def enable_ttl(cls, *, ignore_errors: bool) -> None:
        """Switch on the TTL that this model declares, if it does."""
        t.cast("type[Model]", cls).update_ttl(ignore_errors)

    def full_schema(cls) -> t.Any:
        """The keys, indexes and attribute definitions, as CreateTable wants them."""
        return t.cast(t.Any, cls)._get_schema()

    def table_schema(cls) -> dict[str, t.Any]:
        """The keys and indexes, as DescribeTable would give them."""
        schema = cls.full_schema()
        return {
            constants.KEY_SCHEMA: schema["key_schema"],
            constants.ATTR_DEFINITIONS: schema["attribute_definitions"],
            constants.GLOBAL_SECONDARY_INDEXES: _indexes(schema["global_secondary_indexes"]),
            constants.LOCAL_SECONDARY_INDEXES: _indexes(schema["local_secondary_indexes"]),
        }

    def connection(cls) -> TableConnection:
        """The connection to this model's table in the current app.

        :raises RuntimeError: if no app is current.
        :raises AttributeError: if the model has no ``Meta`` or no table name.
        :raises ConfigError: if what the model declares is wrong.
        """
        if getattr(cls.declared_meta(), "table_name", None) is None:
            raise AttributeError(
                f"{cls.__module__}.{cls.__qualname__}.Meta has no 'table_name': a model needs one."
            )

        return context.state().bind(t.cast("type[Model]", cls)).connection

    def deserializer(cls) -> Deserializer:
        """What makes instances of this model."""
        deserializer: Deserializer | None = cls.__dict__.get(_DESERIALIZER)

        if deserializer is None:
            deserializer = Deserializer(t.cast("type[Model]", cls))
            setattr(cls, _DESERIALIZER, deserializer)

        return deserializer

    def serialized_key(cls, item: t.Any) -> dict[str, t.Any]:
        """The key of an item, as DynamoDB wants it.

        :param item: A hash key, or a pair of hash and range key if the model has one.
        :raises ValueError: if it is neither.
        """
        model = t.cast(t.Any, cls)
        hash_attribute, range_attribute = model._hash_key_attribute(), model._range_key_attribute()

        if range_attribute is None:
            return {hash_attribute.attr_name: model._serialize_keys(item)[0]}

        pair: tuple[t.Any, ...] = tuple(item) if _is_iterable_key(item) else ()

        if len(pair) != 2:
            raise ValueError(
                f"Invalid key {item!r} of {cls.__name__}: it must be a pair, hash key and range"
                " key."
            )

        names = hash_attribute.attr_name, range_attribute.attr_name
        return dict(zip(names, model._serialize_keys(*pair), strict=True))

    def begin_batch_get(
        cls,
        items: cabc.Iterable[t.Any],
        consistent_read: bool | None,
        attributes_to_get: cabc.Sequence[str] | None,
    ) -> batch.BatchGet[t.Any]:
        """A batch of this model of which nothing has been got.

        :param items: Hash keys, or pairs of hash and range key. Duplicates count once.
        :raises ValueError: if a key is not of that form.
        """
        return batch.BatchGet(
            connection=cls.connection(),
            keys=tuple(cls.serialized_key(item) for item in dict.fromkeys(items)),
            decode=t.cast("type[Model]", cls).from_raw_data,
            consistent_read=consistent_read,
            attributes_to_get=attributes_to_get,
        )


class _MetaOfItem:
    if not t.TYPE_CHECKING:

        @property
        def Meta(self) -> meta.Meta:
            """The same as the model's."""
            return type(self).Meta


class Model(_MetaOfItem, pynamodb.models.Model, metaclass=ModelType):
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

        :param message: The description of the 404. The other parameters are those of ``get``.
        :raises werkzeug.exceptions.NotFound: if there is no such item.
        """
        try:
            return cls.get(hash_key, range_key, consistent_read, attributes_to_get)
        except cls.DoesNotExist:
            abort_not_found(message)

    @classmethod
    def first_or_404(cls, message: str = "") -> t.Self:
        """Get the first item of a scan, or end the request with 404 Not Found.

        :param message: The description of the 404.
        :raises werkzeug.exceptions.NotFound: if the table is empty.
        """
        # A model that shares its table may have to look at many items until one is its own.
        page_size = None if cls._get_discriminator_attribute() else 1

        for item in cls.scan(page_size=page_size):
            return item

        abort_not_found(message)

    @classmethod
    def from_raw_data(cls, data: dict[str, t.Any] | None) -> t.Self:
        """Make an instance of an item. As PynamoDB's, by a plan that is made once.

        :param data: The item, as botocore gives it.
        :raises ValueError: if it is ``None``.
        """
        if data is None:
            return super().from_raw_data(t.cast(t.Any, data))

        instance: t.Self = cls.deserializer().read(data)
        return instance

    @classmethod
    def batch_get(
        cls,
        items: cabc.Iterable[t.Any],
        consistent_read: bool | None = None,
        attributes_to_get: cabc.Sequence[str] | None = None,
    ) -> cabc.Iterator[t.Self]:
        """Get many items. As PynamoDB's, but what DynamoDB leaves unprocessed is asked for again
        after a wait that grows, and the first problem with a key is raised at once.

        :raises UnprocessedKeys: if DynamoDB gives no more, though asked again and again.
        """
        return batch.get(cls.begin_batch_get(items, consistent_read, attributes_to_get))

    @classmethod
    def batch_write(cls, auto_commit: bool = True) -> batch.BatchWrite[t.Self]:
        """Write many items, in a ``with`` block. As PynamoDB's, but an exception in the block
        writes nothing of what is pending, and what DynamoDB leaves unprocessed is sent again
        after a wait that grows.

        :param auto_commit: Whether to write whenever 25 items are pending, not only at the end.
        """
        return batch.BatchWrite(cls, cls.connection(), auto_commit)

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

        :param wait: Whether to wait until it is active.
        :param read_capacity_units: Instead of the Meta's or the app's.
        :param write_capacity_units: Instead of the Meta's or the app's.
        :param billing_mode: Instead of the Meta's or the app's. Where none is set,
            ``PROVISIONED`` if capacity is, else ``PAY_PER_REQUEST``.
        :param ignore_update_ttl_errors: Whether an engine may lack TTL.
        :raises ConfigError: if the mode is ``PROVISIONED`` and a capacity is missing.
        :raises pynamodb.exceptions.TableError: if the server refuses.
        """
        generators.run(
            tables.create(
                cls,
                wait=wait,
                read_capacity_units=read_capacity_units,
                write_capacity_units=write_capacity_units,
                billing_mode=billing_mode,
                ignore_update_ttl_errors=ignore_update_ttl_errors,
            )
        )

    @classmethod
    def delete_table(cls, *, wait: bool = False) -> t.Any:
        """Delete the table.

        :param wait: Whether to wait until it is gone.
        :return: What DeleteTable returned.
        """
        return generators.run(tables.delete(cls, wait=wait))

    @classmethod
    def update_ttl(cls, ignore_update_ttl_errors: bool) -> None:
        """Switch on the TTL that the model declares. One that is on already is left alone.

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
        return cls.connection()


def abort_not_found(message: str) -> t.NoReturn:
    """End the current request with 404 Not Found.

    :param message: Its description; if empty, Werkzeug's own.
    """
    context.app().aborter(404, description=message or None)


def concrete_models(base: type[Model] = Model) -> list[type[Model]]:
    """All models that have a table, in the order of their definition."""
    models: list[type[Model]] = []

    for model in base.__subclasses__():
        if getattr(getattr(model, _DECLARED, None), "table_name", None) is not None:
            models.append(model)

        models += concrete_models(model)

    return list(dict.fromkeys(models))


def _is_iterable_key(item: t.Any) -> bool:
    return isinstance(item, cabc.Iterable) and not isinstance(item, (str, bytes))


def _indexes(schemas: cabc.Iterable[t.Any]) -> list[dict[str, t.Any]]:
    return [
        {constants.INDEX_NAME: schema["index_name"], constants.KEY_SCHEMA: schema["key_schema"]}
        for schema in schemas
    ]
