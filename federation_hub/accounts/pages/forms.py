"""What people send with the forms of these pages. A form with a field too many or too few is refused as a whole."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from silo_node.wire.base import Title

Password = Annotated[str, Field(min_length=1, max_length=1000)]
Next = Annotated[str, Field(max_length=400)]
Code = Annotated[str, Field(min_length=1, max_length=80)]


class Form(BaseModel):
    """The base of every form."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Nothing(Form):
    """A form that is only a button."""


class SignIn(Form):
    """Name and password."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    password: Password
    next: Next = ""


class Joining(Form):
    """A one-time code and the password it is exchanged for."""

    code: Code
    password: Password
    again: Password


class NewPassword(Form):
    """The present password and the one that follows."""

    present: Password
    password: Password
    again: Password


class NewToken(Form):
    """What a token is for, what it may do and how long."""

    name: Title
    scopes: tuple[str, ...] = ()
    days: Annotated[int, Field(ge=1, le=365)] = 90


class Approval(Form):
    """A device's code, and whether its program may act for the person."""

    code: Code
    approve: bool


class NewPerson(Form):
    """Somebody to invite."""

    name: Title
    organisation: Title
    roles: tuple[str, ...] = ()


class Roles(Form):
    """The roles a person shall have."""

    roles: tuple[str, ...] = ()


class NewSilo(Form):
    """A hospital's node to invite."""

    name: Title
    organisation: Title


class Fingerprint(Form):
    """What the hospital read out."""

    fingerprint: Annotated[str, Field(min_length=32, max_length=64)]


class Decision(Form):
    """A yes or a no to what another side asked."""

    approve: bool
