"""Every table of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("before", sa.String(length=20), nullable=True),
        sa.Column("after", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index(op.f("ix_audit_entry_subject_id"), "audit_entry", ["subject", "id"], unique=False)

    op.create_table(
        "organisation",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("name", name=op.f("uq_organisation_name")),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("owner_kind", sa.String(length=16), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("organisation_id", sa.String(length=40), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
    )
    op.create_index(op.f("ix_upload_digest"), "upload", ["digest"], unique=False)
    op.create_index(op.f("ix_upload_owner_id"), "upload", ["owner_id"], unique=False)

    op.create_table(
        "benchmark",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("owner_organisation_id", sa.String(length=40), nullable=False),
        sa.Column("owner_person_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_organisation_id"], ["organisation.id"], name=op.f("fk_benchmark_owner_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_benchmark")),
        sa.UniqueConstraint("digest", name=op.f("uq_benchmark_digest")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_benchmark_name_version")),
    )
    op.create_table(
        "model",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=True),
        sa.Column("lineage", sa.JSON(), nullable=True),
        sa.Column("owner_organisation_id", sa.String(length=40), nullable=False),
        sa.Column("owner_person_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_organisation_id"], ["organisation.id"], name=op.f("fk_model_owner_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_model")),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organisation_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_person_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("name", name=op.f("uq_person_name")),
    )
    op.create_index(op.f("ix_person_organisation_id"), "person", ["organisation_id"], unique=False)

    op.create_table(
        "silo",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("organisation_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("public_key", sa.String(length=60), nullable=True),
        sa.Column("software_version", sa.String(length=40), nullable=True),
        sa.Column("wire_version", sa.Integer(), nullable=True),
        sa.Column("publication", sa.String(length=16), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("enrolled", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_silo_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silo")),
        sa.UniqueConstraint("name", name=op.f("uq_silo_name")),
    )
    op.create_index(op.f("ix_silo_organisation_id"), "silo", ["organisation_id"], unique=False)

    op.create_table(
        "cohort",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("training_cases", sa.Integer(), nullable=False),
        sa.Column("validation_cases", sa.Integer(), nullable=False),
        sa.Column("test_cases", sa.Integer(), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("registration", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["benchmark_id"], ["benchmark.id"], name=op.f("fk_cohort_benchmark_id_benchmark")),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_cohort_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohort")),
        sa.UniqueConstraint("silo_id", "fingerprint", name=op.f("uq_cohort_silo_id_fingerprint")),
    )
    op.create_index(op.f("ix_cohort_benchmark_id"), "cohort", ["benchmark_id"], unique=False)
    op.create_index(op.f("ix_cohort_silo_id"), "cohort", ["silo_id"], unique=False)

    op.create_table(
        "enrolment_code",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_enrolment_code_silo_id_silo")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_enrolment_code")),
    )
    op.create_index(op.f("ix_enrolment_code_silo_id"), "enrolment_code", ["silo_id"], unique=False)

    op.create_table(
        "leaderboard_snapshot",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_by", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["benchmark.id"], name=op.f("fk_leaderboard_snapshot_benchmark_id_benchmark")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_leaderboard_snapshot")),
    )
    op.create_index(
        op.f("ix_leaderboard_snapshot_benchmark_id_superseded_by"),
        "leaderboard_snapshot",
        ["benchmark_id", "superseded_by"],
        unique=False,
    )

    op.create_table(
        "study",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("plan_digest", sa.String(length=80), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("model_digest", sa.String(length=80), nullable=False),
        sa.Column("weights_digest", sa.String(length=80), nullable=True),
        sa.Column("final_model_digest", sa.String(length=80), nullable=True),
        sa.Column("owner_organisation_id", sa.String(length=40), nullable=False),
        sa.Column("owner_person_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["benchmark_id"], ["benchmark.id"], name=op.f("fk_study_benchmark_id_benchmark")),
        sa.ForeignKeyConstraint(
            ["final_model_digest"], ["model.digest"], name=op.f("fk_study_final_model_digest_model")
        ),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name=op.f("fk_study_model_digest_model")),
        sa.ForeignKeyConstraint(
            ["owner_organisation_id"], ["organisation.id"], name=op.f("fk_study_owner_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["owner_person_id"], ["person.id"], name=op.f("fk_study_owner_person_id_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
    )
    op.create_index(op.f("ix_study_benchmark_id"), "study", ["benchmark_id"], unique=False)
    op.create_index(op.f("ix_study_owner_organisation_id"), "study", ["owner_organisation_id"], unique=False)
    op.create_index(op.f("ix_study_state"), "study", ["state"], unique=False)

    op.create_table(
        "token",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=True),
        sa.Column("silo_id", sa.String(length=40), nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_token_person_id_person")),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_token_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_token_hash")),
    )
    op.create_index(op.f("ix_token_person_id"), "token", ["person_id"], unique=False)
    op.create_index(op.f("ix_token_silo_id"), "token", ["silo_id"], unique=False)

    op.create_table(
        "association",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("cohort_id", sa.String(length=40), nullable=True),
        sa.Column("model_digest", sa.String(length=80), nullable=True),
        sa.Column("study_id", sa.String(length=40), nullable=True),
        sa.Column("silo_id", sa.String(length=40), nullable=True),
        sa.Column("requested_side", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=40), nullable=False),
        sa.Column("requested_organisation_id", sa.String(length=40), nullable=True),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.String(length=60), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["benchmark_id"], ["benchmark.id"], name=op.f("fk_association_benchmark_id_benchmark")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_association_cohort_id_cohort")),
        sa.ForeignKeyConstraint(["model_digest"], ["model.digest"], name=op.f("fk_association_model_digest_model")),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_association_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_association")),
        sa.UniqueConstraint("benchmark_id", "cohort_id", name=op.f("uq_association_benchmark_id_cohort_id")),
        sa.UniqueConstraint("benchmark_id", "model_digest", name=op.f("uq_association_benchmark_id_model_digest")),
        sa.UniqueConstraint("study_id", "silo_id", name=op.f("uq_association_study_id_silo_id")),
    )
    op.create_index(op.f("ix_association_benchmark_id"), "association", ["benchmark_id"], unique=False)
    op.create_index(op.f("ix_association_kind"), "association", ["kind"], unique=False)
    op.create_index(op.f("ix_association_silo_id"), "association", ["silo_id"], unique=False)

    op.create_table(
        "evaluation",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("cohort_id", sa.String(length=40), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["benchmark_id"], ["benchmark.id"], name=op.f("fk_evaluation_benchmark_id_benchmark")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_evaluation_cohort_id_cohort")),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_evaluation_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
    )
    op.create_index(
        op.f("ix_evaluation_benchmark_id_cohort_id"), "evaluation", ["benchmark_id", "cohort_id"], unique=False
    )
    op.create_index(op.f("ix_evaluation_cohort_id"), "evaluation", ["cohort_id"], unique=False)
    op.create_index(op.f("ix_evaluation_silo_id"), "evaluation", ["silo_id"], unique=False)

    op.create_table(
        "study_round",
        sa.Column("study_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("validate_only", sa.Boolean(), nullable=False),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("weights_digest", sa.String(length=80), nullable=True),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_round_study_id_study")),
        sa.PrimaryKeyConstraint("study_id", "number", "attempt", name=op.f("pk_study_round")),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("evaluation_id", sa.String(length=40), nullable=True),
        sa.Column("study_id", sa.String(length=40), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("available_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("progress_done", sa.Integer(), nullable=False),
        sa.Column("progress_total", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("result_digest", sa.String(length=80), nullable=True),
        sa.Column("result_state", sa.String(length=16), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluation.id"], name=op.f("fk_task_evaluation_id_evaluation")),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_task_silo_id_silo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index(op.f("ix_task_evaluation_id"), "task", ["evaluation_id"], unique=False)
    op.create_index(op.f("ix_task_silo_id_state"), "task", ["silo_id", "state"], unique=False)
    op.create_index(op.f("ix_task_state_lease_until"), "task", ["state", "lease_until"], unique=False)
    op.create_index(op.f("ix_task_study_id"), "task", ["study_id"], unique=False)

    op.create_table(
        "estimate_block",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("evaluation_id", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("benchmark_id", sa.String(length=40), nullable=False),
        sa.Column("cohort_id", sa.String(length=40), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("block", sa.JSON(), nullable=False),
        sa.Column("envelope", sa.JSON(), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["benchmark_id"], ["benchmark.id"], name=op.f("fk_estimate_block_benchmark_id_benchmark")
        ),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_estimate_block_cohort_id_cohort")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_estimate_block_evaluation_id_evaluation")
        ),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_estimate_block_silo_id_silo")),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_estimate_block_task_id_task")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_estimate_block")),
        sa.UniqueConstraint("evaluation_id", name=op.f("uq_estimate_block_evaluation_id")),
    )
    op.create_index(
        op.f("ix_estimate_block_benchmark_id_state"), "estimate_block", ["benchmark_id", "state"], unique=False
    )
    op.create_index(op.f("ix_estimate_block_cohort_id"), "estimate_block", ["cohort_id"], unique=False)
    op.create_index(op.f("ix_estimate_block_silo_id"), "estimate_block", ["silo_id"], unique=False)

    op.create_table(
        "study_update",
        sa.Column("study_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("silo_id", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("cohort_id", sa.String(length=40), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("norm", sa.Double(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("envelope", sa.JSON(), nullable=True),
        sa.Column("received", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_study_update_cohort_id_cohort")),
        sa.ForeignKeyConstraint(["silo_id"], ["silo.id"], name=op.f("fk_study_update_silo_id_silo")),
        sa.ForeignKeyConstraint(
            ["study_id", "number", "attempt"],
            ["study_round.study_id", "study_round.number", "study_round.attempt"],
            name=op.f("fk_study_update_study_id_number_attempt_study_round"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_study_update_task_id_task")),
        sa.PrimaryKeyConstraint("study_id", "number", "attempt", "silo_id", name=op.f("pk_study_update")),
        sa.UniqueConstraint("task_id", name=op.f("uq_study_update_task_id")),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("study_update")
    op.drop_index(op.f("ix_estimate_block_silo_id"), table_name="estimate_block")
    op.drop_index(op.f("ix_estimate_block_cohort_id"), table_name="estimate_block")
    op.drop_index(op.f("ix_estimate_block_benchmark_id_state"), table_name="estimate_block")

    op.drop_table("estimate_block")
    op.drop_index(op.f("ix_task_study_id"), table_name="task")
    op.drop_index(op.f("ix_task_state_lease_until"), table_name="task")
    op.drop_index(op.f("ix_task_silo_id_state"), table_name="task")
    op.drop_index(op.f("ix_task_evaluation_id"), table_name="task")

    op.drop_table("task")
    op.drop_table("study_round")
    op.drop_index(op.f("ix_evaluation_silo_id"), table_name="evaluation")
    op.drop_index(op.f("ix_evaluation_cohort_id"), table_name="evaluation")
    op.drop_index(op.f("ix_evaluation_benchmark_id_cohort_id"), table_name="evaluation")

    op.drop_table("evaluation")
    op.drop_index(op.f("ix_association_silo_id"), table_name="association")
    op.drop_index(op.f("ix_association_kind"), table_name="association")
    op.drop_index(op.f("ix_association_benchmark_id"), table_name="association")

    op.drop_table("association")
    op.drop_index(op.f("ix_token_silo_id"), table_name="token")
    op.drop_index(op.f("ix_token_person_id"), table_name="token")

    op.drop_table("token")
    op.drop_index(op.f("ix_study_state"), table_name="study")
    op.drop_index(op.f("ix_study_owner_organisation_id"), table_name="study")
    op.drop_index(op.f("ix_study_benchmark_id"), table_name="study")

    op.drop_table("study")
    op.drop_index(op.f("ix_leaderboard_snapshot_benchmark_id_superseded_by"), table_name="leaderboard_snapshot")

    op.drop_table("leaderboard_snapshot")
    op.drop_index(op.f("ix_enrolment_code_silo_id"), table_name="enrolment_code")

    op.drop_table("enrolment_code")
    op.drop_index(op.f("ix_cohort_silo_id"), table_name="cohort")
    op.drop_index(op.f("ix_cohort_benchmark_id"), table_name="cohort")

    op.drop_table("cohort")
    op.drop_index(op.f("ix_silo_organisation_id"), table_name="silo")

    op.drop_table("silo")
    op.drop_index(op.f("ix_person_organisation_id"), table_name="person")

    op.drop_table("person")
    op.drop_table("model")
    op.drop_table("benchmark")
    op.drop_index(op.f("ix_upload_owner_id"), table_name="upload")
    op.drop_index(op.f("ix_upload_digest"), table_name="upload")

    op.drop_table("upload")
    op.drop_table("organisation")
    op.drop_index(op.f("ix_audit_entry_subject_id"), table_name="audit_entry")

    op.drop_table("audit_entry")
