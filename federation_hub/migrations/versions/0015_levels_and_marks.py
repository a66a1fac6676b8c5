"""The compression levels a silo offers with its yes to a study, and marks on updates that stand out."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.add_column("association", sa.Column("levels", sa.JSON(), nullable=True))
    op.add_column("study_update", sa.Column("mark", sa.String(60), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("study_update", "mark")
    op.drop_column("association", "levels")
