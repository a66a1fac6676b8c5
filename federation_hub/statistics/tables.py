"""Tables of questions about cohorts and of the silos' answers."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, new_id, now


class StatisticsQuery(Base):
    """One question, asked of every active silo that has a cohort for the benchmark."""

    __tablename__ = "statistics_query"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("query"))
    benchmark_id: Mapped[str] = mapped_column(ForeignKey("benchmark.id"))
    owner_organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), index=True)
    owner_person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    question: Mapped[dict[str, Any]]
    """A ``StatisticsQuestion`` as JSON."""

    created: Mapped[datetime] = mapped_column(default=now)


class StatisticsAnswer(Base):
    """What one silo was asked, and its signed answer once it came."""

    __tablename__ = "statistics_answer"

    task_id: Mapped[str] = mapped_column(ForeignKey("task.id"), primary_key=True)
    query_id: Mapped[str] = mapped_column(ForeignKey("statistics_query.id"), index=True)
    report: Mapped[dict[str, Any] | None]
    envelope: Mapped[dict[str, Any] | None]
