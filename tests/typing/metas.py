"""``Meta``: plain, inherited, shared, typed, changed."""

from typing import Any

from pynamodb.attributes import DiscriminatorAttribute
from pynamodb.attributes import UnicodeAttribute

from dynamo_ext import Model


class Visit(Model):
    class Meta:
        table_name = "visit"
        region = "eu-central-1"
        read_timeout_seconds = 2
        billing_mode = "PAY_PER_REQUEST"

    id = UnicodeAttribute(hash_key=True)


class LongVisit(Visit):
    class Meta(Visit.Meta):
        table_name = "long-visit"


class SharedVisit(Visit):
    Meta = Visit.Meta


class TypedVisit(Model):
    class Meta:
        table_name: str = "typed-visit"
        read_capacity_units: int = 2
        write_capacity_units: int | None = None
        max_retry_attempts: int = 0
        extra_headers: dict[str, str] | None = None

    id = UnicodeAttribute(hash_key=True)


class Settings:
    region = "eu-west-1"
    host: str | None = None


class ConfiguredVisit(Model):
    class Meta(Settings):
        table_name = "configured-visit"

    id = UnicodeAttribute(hash_key=True)


class Event(Model):
    class Meta:
        table_name = "event"

    id = UnicodeAttribute(hash_key=True)
    kind = DiscriminatorAttribute()


class Click(Event, discriminator="click"):
    button = UnicodeAttribute(null=True)


Visit.Meta.table_name = "visits"
Visit.Meta.table_name += "-of-today"
region: str = ConfiguredVisit.Meta.region
anything: Any = Event("1").Meta
button: str = Click("1").button


def table_of(model: type[Model]) -> str:
    return str(model.Meta.table_name)


table_of(LongVisit)
