"""The runs study: an Optuna study whose trials are runs, queue and ledger at once, and the only state there is.

A run waits as an enqueued trial without parameters; its key, its configuration, its row and learning curve or the
reason why it failed are attributes of the trial. Of two finished trials with one key the first counts.
"""

from eca_ablate.study.ledger import differences
from eca_ablate.study.runs import RunsStudy, export

__all__ = ["RunsStudy", "differences", "export"]
