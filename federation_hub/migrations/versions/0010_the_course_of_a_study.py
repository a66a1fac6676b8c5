"""How good each global model was at the sites, what they made of it, the best one, and updates from older models."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ADDED = {
    "study": (("best_round", sa.Integer()), ("best_digest", sa.String(80))),
    "study_round": (("base_round", sa.Integer()), ("base_score", sa.Double()), ("verdict", sa.String(16))),
    "study_update": (("started", sa.Integer()),),
}


def upgrade() -> None:
    """Apply the change."""
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name, kind in columns:
                batch.add_column(sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Take the change back."""
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name, _ in columns:
                batch.drop_column(name)
