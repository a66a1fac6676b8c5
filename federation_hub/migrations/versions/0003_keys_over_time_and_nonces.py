"""Every key a silo has had, and the nonces of signed requests."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; a silo's present key becomes the first of its history."""
    op.create_table(
        "silo_key",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("public_key", sa.String(length=60), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_silo_key_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silo_key")),
    )
    op.create_index(op.f("ix_silo_key_silo_id"), "silo_key", ["silo_id"], unique=False)
    op.create_table(
        "request_nonce",
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("nonce", sa.String(length=24), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_request_nonce_silo_id_silo")),
        sa.PrimaryKeyConstraint("silo_id", "nonce", name=op.f("pk_request_nonce")),
    )
    op.create_index(op.f("ix_request_nonce_expires"), "request_nonce", ["expires"], unique=False)
    op.execute(
        "INSERT INTO silo_key (silo_id, public_key, since) "
        "SELECT id, public_key, COALESCE(enrolled, created) FROM silo WHERE public_key IS NOT NULL"
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_index(op.f("ix_request_nonce_expires"), table_name="request_nonce")
    op.drop_table("request_nonce")
    op.drop_index(op.f("ix_silo_key_silo_id"), table_name="silo_key")
    op.drop_table("silo_key")
