"""How many noisy means of a study were made, and the clipping norm they have come to; questions about cohorts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    with op.batch_alter_table("study") as batch:
        batch.add_column(sa.Column("private", sa.JSON(), nullable=True))
    op.create_table(
        "statistics_query",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("owner_organisation_id", sa.String(length=40), nullable=False),
        sa.Column("owner_person_id", sa.String(length=40), nullable=False),
        sa.Column("question", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_statistics_query_{column}_{table}"))
            for column, table in (
                ("benchmark_id", "benchmark"),
                ("owner_organisation_id", "organisation"),
                ("owner_person_id", "person"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statistics_query")),
    )
    op.create_index(op.f("ix_statistics_query_owner_organisation_id"), "statistics_query", ["owner_organisation_id"])
    op.create_table(
        "statistics_answer",
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("query_id", sa.String(length=40), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("envelope", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_statistics_answer_task_id_task")),
        sa.ForeignKeyConstraint(
            ["query_id"], ["statistics_query.id"], name=op.f("fk_statistics_answer_query_id_statistics_query")
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_statistics_answer")),
    )
    op.create_index(op.f("ix_statistics_answer_query_id"), "statistics_answer", ["query_id"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("statistics_answer")
    op.drop_table("statistics_query")
    with op.batch_alter_table("study") as batch:
        batch.drop_column("private")
