"""The hospitals' nodes: invitation, enrolment, approval, suspension; and the cohorts they register."""
