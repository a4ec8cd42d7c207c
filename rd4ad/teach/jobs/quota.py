"""How much may be taught on a server: the operator's settings, see docs/HOSTING.md."""

import os
from dataclasses import dataclass, fields
from math import inf

from rd4ad.config import number_setting


class QuotaError(ValueError):
    """More than the server gives; the message is for the visitor."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Limits of jobs; the defaults suit two cores, and infinity is no limit.

    Args:
        is_on: whether jobs are taken at all.
        may_publish: whether visitors may put detectors on the Hub, by the server's own login.
        hours: after the last change a job and all its files are deleted.
        photos: of one job.
        megapixels: of all photos of one job, as they come.
        mib: of all jobs' files on disk.
        jobs: of all visitors.
        jobs_per_client: of one visitor's address.
        minutes: of reverse distillation that one job may ask for.
    """

    is_on: bool = True
    may_publish: bool = False
    hours: float = 2
    photos: float = 500
    megapixels: float = 8000
    mib: float = 2048
    jobs: float = 40
    jobs_per_client: float = 5
    minutes: float = 10

    @classmethod
    def from_environment(cls) -> "Quota":
        """Return the limits that variables like RD4AD_TEACH_HOURS name; RD4AD_TEACH=0 is off.

        Raises:
            ValueError: a variable is not a number; names it.
        """
        limits = {
            field.name: number_setting(f"RD4AD_TEACH_{field.name.upper()}", default) or inf
            for field in fields(cls)
            if isinstance(default := field.default, (int, float)) and field.type is float
        }
        return cls(
            is_on=os.environ.get("RD4AD_TEACH") != "0",
            may_publish=os.environ.get("RD4AD_TEACH_PUBLISH") == "1",
            **limits,
        )
