"""The signed sealing keys of silos in studies without an aggregator."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "neighbour_key",
        sa.Column("study_id", sa.String(40), sa.ForeignKey("study.id"), primary_key=True),
        sa.Column("silo_id", sa.String(40), sa.ForeignKey("silo.id"), primary_key=True),
        sa.Column("plan_digest", sa.String(80), nullable=False),
        sa.Column("envelope", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("neighbour_key")
