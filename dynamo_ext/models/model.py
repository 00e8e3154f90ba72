"""``Model``: finds its app's Meta and engine when it is called, not when it is defined."""

from __future__ import annotations

import collections.abc as cabc
import functools
import types
import typing as t

import pynamodb.exceptions
import pynamodb.models

from ..binding import context
from ..client.connection import TableConnection
from ..concurrency import generators
from . import batch
from . import deserializer
from . import eligibility
from . import item_serializer
from . import late_binding
from . import serializer
from . import tables
from .keys import ChecksKeys
from .planned import PlansCalls
from .queries import ChecksQueries

_TTL_IS_ON = "TimeToLive is already enabled"
_PROJECT = frozenset({"dynamo_ext", "dynamo_ext_async"})


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
        create = t.cast(t.Any, super()).__new__
        model: ModelType = create(
            cls, name, bases, late_binding.incomplete(namespace), discriminator
        )
        _find_meta(t.cast(t.Any, model))
        return model

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, t.Any],
        discriminator: t.Any = None,
    ) -> None:
        # PynamoDB would fill the declared Meta with its own defaults.
        without_meta = {name: value for name, value in namespace.items() if name != "Meta"}
        super().__init__(name, bases, without_meta, discriminator)
        late_binding.complete(t.cast(t.Any, cls))

    def __setattr__(cls, name: str, value: t.Any) -> None:
        if name == "Meta":
            for own_name, own in late_binding.declaration(value).items():
                super().__setattr__(own_name, own)
        else:
            super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)

        if name == "Meta":
            super().__delattr__(late_binding.DECLARED_META)
            _find_meta(t.cast(t.Any, cls))

    def mro(cls) -> list[type]:
        """The order in which base classes are searched: what a stock model overrides comes before
        what this project does, also where it is named behind it."""
        order = super().mro()
        stock = t.cast(type, pynamodb.models.Model)
        last = max((order.index(kind) for kind in order if _is_stock_base(kind)), default=0)
        ours = [kind for kind in order[1:last] if _is_of_project(kind)]
        others = [kind for kind in order if kind not in ours]
        position = others.index(stock)
        return [*others[:position], *ours, *others[position:]]

    if t.TYPE_CHECKING:
        Meta: t.Any


def _find_meta(model: t.Any) -> None:
    """See to it that a ``Meta`` that a stock model or a mixin declares is found."""
    declares = late_binding.DECLARED_META in vars(model)

    if not declares and late_binding.inherits_from_elsewhere(model):
        model.Meta = late_binding.MetaOfModel()


def _is_of_project(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PROJECT


def _is_stock_base(kind: type) -> bool:
    """Whether a class is a user's model that is no model of this project."""
    return (
        issubclass(kind, pynamodb.models.Model)
        and not isinstance(kind, ModelType)
        and kind is not pynamodb.models.Model
    )


F = t.TypeVar("F", bound=cabc.Callable[..., t.Any])

_scan: t.Any = t.cast(t.Any, ChecksQueries.scan).__func__


def _gets_or_404(declared: F, /) -> F:
    """Declare a method that calls ``get`` with the arguments as the caller gave them."""

    @functools.wraps(declared)
    def get_or_404(model: t.Any, /, *args: t.Any, message: str = "", **kwargs: t.Any) -> t.Any:
        try:
            return model.get(*args, **kwargs)
        except model.DoesNotExist:
            abort_not_found(message)

    return t.cast(F, get_or_404)


if t.TYPE_CHECKING:
    _ClassMethod = classmethod[t.Any, t.Any, t.Any]
else:
    _ClassMethod = classmethod


class _FromRawData(_ClassMethod):
    """A class method that heeds patches. Those are looked for where it is looked up, which is once
    for all items of a result."""

    def __get__(self, item: t.Any, owner: t.Any = None) -> t.Any:
        owner = item.__class__ if owner is None else owner

        if not eligibility.was_seen_plain(owner):
            deserializer.refresh(owner)

        return types.MethodType(self.__func__, owner)


def _options_of_first(model: type[pynamodb.models.Model]) -> dict[str, t.Any]:
    """How to scan for the first item: with small pages, unless a scan is the app's own or has to
    pass items of other models."""
    scan: t.Any = model.scan
    has_others = t.cast(t.Any, model)._get_discriminator_attribute() is not None
    return {} if has_others or getattr(scan, "__func__", None) is not _scan else {"page_size": 1}


class _MetaOfItem:
    if not t.TYPE_CHECKING:
        Meta = late_binding.MetaOfModel()


class Model(
    _MetaOfItem,
    ChecksKeys,
    ChecksQueries,
    PlansCalls,
    pynamodb.models.Model,
    metaclass=ModelType,
):
    """The base of models: PynamoDB's, bound late to the current app.

    Everything else is as in :class:`pynamodb.models.Model`.
    """

    if t.TYPE_CHECKING:
        Meta: t.Any
        DoesNotExist: type[pynamodb.exceptions.DoesNotExist]

    @classmethod
    @_gets_or_404
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
        raise NotImplementedError

    @classmethod
    def first_or_404(cls, message: str = "") -> t.Self:
        """Get the first item of a scan, or end the request with 404 Not Found.

        :param message: The description of the 404.
        :return: The item.
        :raises werkzeug.exceptions.NotFound: if the table has no item of this model.
        :raises pynamodb.exceptions.ScanError: if the call fails.
        """
        for item in cls.scan(**_options_of_first(cls)):
            return item

        abort_not_found(message)

    def to_json_dict(
        self,
        *,
        include: cabc.Iterable[str] | None = None,
        exclude: cabc.Iterable[str] | None = None,
    ) -> dict[str, t.Any]:
        """Give this item's values as any JSON library takes them.

        Keys are those of ``to_simple_dict``. Times are ISO 8601 in UTC, bytes are base64, sets are
        sorted lists, and a JSON attribute is the value that it holds.

        :param include: The Python names of the attributes that are wanted, whatever the model's
            ``Meta.json_include`` and ``Meta.json_exclude`` say; ``None`` for what they leave.
        :param exclude: The Python names of attributes that are not wanted, besides those of
            ``Meta.json_exclude``.
        :return: The values, by the names that they have in DynamoDB.
        :raises ValueError: if a name is not an attribute's.
        :raises ConfigError: if a name in the model's ``Meta`` is not an attribute's.
        """
        return serializer.to_json_dict(self, include=include, exclude=exclude)

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

    if not t.TYPE_CHECKING:
        from_raw_data = _FromRawData(deserializer.reads_items(from_raw_data.__func__))

    def serialize(self, null_check: bool = True) -> dict[str, dict[str, t.Any]]:
        """Make an item of this instance, by code that is generated once for each class.

        :param null_check: Whether a missing value is an error.
        :return: The item, as botocore takes it.
        :raises pynamodb.exceptions.AttributeNullError: if a value is missing.
        """
        write = item_serializer.of(type(self)) if null_check else None
        written = None if write is None else write(self)
        return super().serialize(null_check) if written is None else written[0]

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
