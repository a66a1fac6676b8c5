"""Passwords, identities, sessions, invitations, device requests, idempotent answers; an audit trail that stays."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def _guards(dialect: str) -> list[str]:
    """Return what makes the database itself refuse to change or drop a line of the audit trail."""
    events = ("update", "delete")
    if dialect == "sqlite":
        body = "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        return [f"CREATE TRIGGER audit_entry_no_{event} BEFORE {event} ON audit_entry {body}" for event in events]
    function = (
        "CREATE FUNCTION audit_entry_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$"
    )
    call = "FOR EACH ROW EXECUTE FUNCTION audit_entry_stays()"
    return [
        function,
        *(f"CREATE TRIGGER audit_entry_no_{event} BEFORE {event} ON audit_entry {call}" for event in events),
    ]


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "idempotent_answer",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_idempotent_answer")),
    )
    with op.batch_alter_table("idempotent_answer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotent_answer_created"), ["created"], unique=False)

    op.create_table(
        "browser_session",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_browser_session_person_id_person")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_browser_session")),
    )
    with op.batch_alter_table("browser_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_browser_session_person_id"), ["person_id"], unique=False)

    op.create_table(
        "device_request",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_code", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=True),
        sa.Column("interval", sa.Integer(), nullable=False),
        sa.Column("polled", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_device_request_person_id_person")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_device_request")),
        sa.UniqueConstraint("user_code", name=op.f("uq_device_request_user_code")),
    )
    with op.batch_alter_table("device_request", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_request_expires"), ["expires"], unique=False)

    op.create_table(
        "invitation",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_invitation_person_id_person")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_invitation")),
    )
    with op.batch_alter_table("invitation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_invitation_person_id"), ["person_id"], unique=False)

    op.create_table(
        "person_identity",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("linked", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_person_identity_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_identity")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_person_identity_issuer_subject")),
    )
    with op.batch_alter_table("person_identity", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_person_identity_person_id"), ["person_id"], unique=False)

    op.create_table(
        "person_password",
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("hash", sa.String(length=160), nullable=False),
        sa.Column("changed", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_person_password_person_id_person")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_password")),
    )
    op.create_table(
        "sign_in_flow",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("verifier", sa.String(length=128), nullable=False),
        sa.Column("invitation", sa.String(length=64), nullable=True),
        sa.Column("person_id", sa.String(length=40), nullable=True),
        sa.Column("next", sa.String(length=400), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_sign_in_flow_person_id_person")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sign_in_flow")),
    )
    with op.batch_alter_table("sign_in_flow", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_flow_expires"), ["expires"], unique=False)

    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.add_column(sa.Column("name", sa.String(length=120), nullable=True))
    for statement in _guards(op.get_bind().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    """Take the change back."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for event in ("update", "delete"):
        op.execute(f"DROP TRIGGER audit_entry_no_{event}" + ("" if sqlite else " ON audit_entry"))
    if not sqlite:
        op.execute("DROP FUNCTION audit_entry_stays")
    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.drop_column("name")

    with op.batch_alter_table("sign_in_flow", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_in_flow_expires"))

    op.drop_table("sign_in_flow")
    op.drop_table("person_password")
    with op.batch_alter_table("person_identity", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_person_identity_person_id"))

    op.drop_table("person_identity")
    with op.batch_alter_table("invitation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_invitation_person_id"))

    op.drop_table("invitation")
    with op.batch_alter_table("device_request", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_request_expires"))

    op.drop_table("device_request")
    with op.batch_alter_table("browser_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_browser_session_person_id"))

    op.drop_table("browser_session")
    with op.batch_alter_table("idempotent_answer", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotent_answer_created"))

    op.drop_table("idempotent_answer")
