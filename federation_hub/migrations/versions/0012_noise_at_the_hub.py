"""How many noisy means of a study were made, and the clipping norm they have come to."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("study") as batch:
        batch.add_column(sa.Column("private", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    with op.batch_alter_table("study") as batch:
        batch.drop_column("private")
