"""How often a board's inputs changed, and up to which change it was computed; why a dispute was decided as it was.

The boards there are now are up to date.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "leaderboard_revision",
        sa.Column("benchmark_id", sa.String(40), sa.ForeignKey("benchmark.id"), primary_key=True),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("computed", sa.Integer(), nullable=False),
    )
    with op.batch_alter_table("estimate_block") as batch:
        batch.add_column(sa.Column("decision", sa.String(500), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    with op.batch_alter_table("estimate_block") as batch:
        batch.drop_column("decision")
    op.drop_table("leaderboard_revision")
