"""Which models a site left out of an answer, and how far waiting arrivals are in the intake log."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("evaluation") as batch:
        batch.add_column(sa.Column("refused", sa.JSON(), server_default="{}", nullable=False))
    op.create_table(
        "intake_spool",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_intake_spool")),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("intake_spool")
    with op.batch_alter_table("evaluation") as batch:
        batch.drop_column("refused")
