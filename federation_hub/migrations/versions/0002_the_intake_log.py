"""The intake log: every request body that arrived from a silo; and which silos check models."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "intake_entry",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_intake_entry_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intake_entry")),
    )
    op.create_index(op.f("ix_intake_entry_silo_id_id"), "intake_entry", ["silo_id", "id"], unique=False)
    op.add_column("silo", sa.Column("checks", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("silo", "checks")
    op.drop_index(op.f("ix_intake_entry_silo_id_id"), table_name="intake_entry")
    op.drop_table("intake_entry")
