"""Masked rounds: the groups of each and what their silos have said."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ROUND = ["study_id", "number", "attempt"]
_REFERENCED = ["study_round.study_id", "study_round.number", "study_round.attempt"]


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "masking_group",
        sa.Column("study_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(_ROUND, _REFERENCED, name=op.f("fk_masking_group_study_id_study_round")),
        sa.PrimaryKeyConstraint(*_ROUND, "place", name=op.f("pk_masking_group")),
    )
    op.create_table(
        "masking_site",
        sa.Column("study_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=True),
        sa.Column("shares", sa.JSON(), nullable=True),
        sa.Column("confirmation", sa.JSON(), nullable=True),
        sa.Column("opening", sa.JSON(), nullable=True),
        sa.Column("survived", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_masking_site_silo_id_silo")),
        sa.ForeignKeyConstraint(_ROUND, _REFERENCED, name=op.f("fk_masking_site_study_id_study_round")),
        sa.PrimaryKeyConstraint(*_ROUND, "silo_id", name=op.f("pk_masking_site")),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("masking_site")
    op.drop_table("masking_group")
