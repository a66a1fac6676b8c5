"""Entries with attempt, phase and visibility; versions of a model; reasons of disputes and repeated evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_EARLIER = """
INSERT INTO entry (id, benchmark_id, model_digest, organisation_id, person_id, attempt, visibility, priority, created)
SELECT 'entry-' || substr(a.id, 7), a.benchmark_id, a.model_digest, m.owner_organisation_id, m.owner_person_id,
       row_number() OVER (PARTITION BY a.benchmark_id, m.owner_organisation_id ORDER BY a.created, a.id),
       'public', 0, a.created
FROM association a JOIN model m ON m.digest = a.model_digest
WHERE a.kind = 'model-benchmark' AND (m.lineage IS NULL OR CAST(m.lineage AS TEXT) = 'null')
"""


def upgrade() -> None:
    """Apply the change; every model that was submitted before has a public entry afterwards."""
    op.create_table(
        "entry",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("benchmark_id", sa.String(40), nullable=False),
        sa.Column("model_digest", sa.String(80), nullable=False),
        sa.Column("organisation_id", sa.String(40), nullable=False),
        sa.Column("person_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(40), nullable=True),
        sa.Column("visibility", sa.String(16), nullable=False),
        sa.Column("embargo_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("baseline", sa.Boolean(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["benchmark_id"], ["benchmark.id"], name=op.f("fk_entry_benchmark_id_benchmark")),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name=op.f("fk_entry_model_digest_model")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_entry_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entry")),
        sa.UniqueConstraint("benchmark_id", "model_digest", name=op.f("uq_entry_benchmark_id_model_digest")),
    )
    op.create_index(op.f("ix_entry_model_digest"), "entry", ["model_digest"])
    op.create_index(op.f("ix_entry_benchmark_id_organisation_id"), "entry", ["benchmark_id", "organisation_id"])
    op.execute(_EARLIER)
    with op.batch_alter_table("model") as batch:
        batch.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("version_of", sa.String(80), nullable=True))
    with op.batch_alter_table("evaluation") as batch:
        batch.add_column(sa.Column("reason", sa.String(60), nullable=True))
    with op.batch_alter_table("estimate_block") as batch:
        batch.add_column(sa.Column("reason", sa.String(60), nullable=True))
        batch.add_column(sa.Column("disputed_by", sa.String(40), nullable=True))
        batch.add_column(sa.Column("disputed_organisation_id", sa.String(40), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    with op.batch_alter_table("estimate_block") as batch:
        for column in ("disputed_organisation_id", "disputed_by", "reason"):
            batch.drop_column(column)
    with op.batch_alter_table("evaluation") as batch:
        batch.drop_column("reason")
    with op.batch_alter_table("model") as batch:
        batch.drop_column("version_of")
        batch.drop_column("version")
    op.drop_table("entry")
