"""The moments of the server's optimiser, committed with the round that made them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    for table in ("study", "study_round"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("moments", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    for table in ("study", "study_round"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("moments")
