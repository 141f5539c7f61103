"""Every number that ``basic`` decides by: its unit, where it comes from, and what moves with it.

"Enough" is the distance at which the criterion should be met (``estimates.enough_distance``). "Chosen" says that no
measurement is on record. The recorded conversations in ``tests/data/conversations`` change with nearly every one.
"""

from __future__ import annotations

# --- What counts as less, so that it is no accident of the rows ------------------------------------------------------

SAME_DISTANCE = 1.25
"""Ratio of two distances up to which they count as equal. Measured on a few dozen rows, a distance moves by about a
quarter from one set of rows to the next (docs/explanation/search.md, section 1). Larger: preference among recipes
decides more often and the distance less often."""

CLEARLY_LESS_DISTANCE = 1 / SAME_DISTANCE
"""Ratio of a distance to another at which it is less beyond doubt. Smaller: fewer recipes are evaluated after a miss,
and hidden harm is suspected less often."""

CLEARLY_LESS_ERROR = 0.9
"""Ratio of own errors at which a group of ops leaves the config it has for another. The sampled rows cannot tell less
apart (docs/explanation/search.md, section 1; the figure is chosen). Larger: more ops leave the preferred config."""

CLEARLY_LESS_LOSS = 0.9
"""Ratio of losses above which a second recipe has lost as much as the first. Chosen. Larger: fewer losses count as
unmoved, so that hidden harm is suspected less often."""

CLEAR_LOSS = 2.0
"""Loss, in times the tolerated one, up to which it may be noise of the evaluation. Chosen. Larger: hidden harm is
suspected less often."""

# --- Which recipes of the model as a whole are evaluated (uniform, accurate, strategy) -------------------------------

FLIPPED_PER_ROOT_DISTANCE = 1.0
"""Share of answers that flip, divided by the root of the distance. 0.6 to 0.9 on MRPC at distances of 0.0002 to 0.002
(docs/explanation/decisions/0010-errors-row-by-row.md), so 1 is the safe side. Larger: fewer recipes count as near, and
a distance accounts for larger losses."""

NEAR_FLIPS = 2.0
"""Answers that may flip in a recipe that is near, in times the tolerated loss: flips go both ways, so far fewer are
lost (docs/explanation/search.md, section 1; the figure is chosen). Larger: fewer probes before the first evaluation."""

FAR_DISTANCE = 0.02
"""Distance beyond which model-wide transforms are varied: about a seventh of the answers flips (the root of 0.02).
Chosen. Larger: fewer of these probes, which make every op anew."""

UNIFORM_PROBES = 2
"""Uniform recipes probed beside the mixture once something has missed. Chosen. Larger: more whole-model probes after a
miss."""

MAX_TRIAL_DISTANCE = 4.0
"""Distance of a recipe, in times what is enough, beyond which it is not evaluated. Chosen; generous, since losses fall
more slowly than distances. Larger: more evaluations without float ops that miss."""

FIRST_SHARE_OF_GAIN = 0.5
"""Share of all the fall of own errors that the first, cheaper of the more accurate recipes has. Chosen. Larger: more
ops in slower configs in it, and more likely a hit."""

OUTLYING_ERROR = 100.0
"""Own error, in times the median op's, from which an op is named in the log as an outlier. Chosen: beyond the usual
spread. Nothing else depends on it."""

# --- Which distance should do, and what a distance accounts for (estimates) ------------------------------------------

ENOUGH_SHARE_UNKNOWN_LOSS = 0.25
"""Share of a missed recipe's distance that is enough where its loss is not known. Chosen. Larger: fewer ops go to float
in the first attempt."""

ENOUGH_DISTANCE_UNKNOWN_LOSS = 0.05
"""Distance that is enough at most where the loss is not known: most of the model is intact. Chosen, lest a recipe
that lost everything sets the measure. Larger: fewer ops go to float in the first attempt."""

MIN_ENOUGH_SHARE = 0.01
"""Least share of a missed recipe's distance that is ever aimed at: some dozen rows foretell nothing finer. Chosen.
Larger: fewer ops go to float where the loss was huge."""

WRECKED_DISTANCE = 0.25
"""Distance at which so little of the model is left that any loss is accounted for: by its root half of the answers
flip. Chosen. Larger: group tests begin more often on models that are broken in plain sight."""

# --- Which ops do the damage (ranking) -------------------------------------------------------------------------------

RANKING_CHUNK = 8
"""Ops probed alone before the others are probed together. Chosen. Larger: fewer rounds, more probes in the last."""

ALIKE_REST = 2.0
"""Damage of all ops not yet probed, in times what they would do if each were like the middle one of the chunk, up to
which ranking ends. Chosen: own errors order ops only roughly. Larger: fewer probes, harmful ops may stay unranked."""

NEGLIGIBLE_REST = 0.5
"""Damage of all ops not yet probed, in times what is enough, up to which ranking ends. Chosen. Larger: fewer
probes, harmful ops may stay unranked."""

FATAL_DAMAGE = 2.0
"""Damage of one op alone, in times what is enough, beyond which it is not tried in INT8 again. Chosen; twice, since
distances are uncertain and losses fall more slowly. Larger: shorter lists at first, more trials that put ops back."""

NOTABLE_DAMAGE = 0.1
"""Damage of one op, in times what is enough, beyond which it may lengthen the list of ops to change. Chosen. Larger:
shorter lists."""

MIN_FORESEEN_OPS = 6
"""Ops that may always be foreseen to change, however few there are. Chosen. Larger: in small
models longer lists are foreseen, and other ways taken less often."""

FORESEEN_ONE_IN = 4
"""One op in so many may be foreseen to change; where more would have to, nothing is foreseen. Chosen. Larger: other
ways (repairs, group tests) are taken more often."""

UNFORESEEN_ONE_IN = 8
"""One op in so many is changed first where nothing is foreseen. Chosen. Larger: a shorter first list."""

REPAIRED_DAMAGE = 0.25
"""Ratio of an op's damage in another INT8 config to that in its own, below which it is repaired. Chosen. Larger: more
ops stay in INT8, and more mixed recipes miss."""

MAX_REPAIRED_OPS = 8
"""Harmful ops whose other INT8 configs are compared; more are quicker put into float. Chosen. Larger: more probes."""

# --- How many needed ops are told apart when changes are taken back (strategy, improve) ------------------------------

MAX_NEEDED_IN_FLOAT = 3
"""Ops of a list found to be needed in float, after which the rest of it stays: the list is about right. Chosen. Larger:
more trials, a few ops less in float."""

MAX_NEEDED_UPGRADES = 2
"""Ops found to need their more accurate config (or float32 in place of bfloat16), after which the rest keeps it: harm
is everywhere. Chosen. Larger: more trials with a budget, a faster result."""

SLOW_SPEEDUP = 0.95
"""Seconds in float32 divided by seconds in INT8 up to which an op is better off in float32. Chosen; below 1, since
timings are noisy. Larger: more ops go to float with a budget."""

# --- Group tests (group_testing, group_plan) -------------------------------------------------------------------------

FEW_HARMFUL_OPS = 8
"""Ops of the kind just found that are worth finding one by one; where more would have to be in float, harm adds up
(docs/explanation/decisions/0014-harm-that-adds-up-is-bisected.md). Larger: exact results more often, more trials."""

ALL_OR_NOTHING_LOSS = 0.9
"""Loss from one op, as a share of the whole loss, from which the score tells good from bad but not how bad. Chosen.
Larger: losses are used more often to count the harmful ops."""

UNEVEN_COUNT = 0.1
"""Distance of a quotient of losses from a whole number, in ops, beyond which it does not count the harmful ops. Chosen.
Larger: losses are used more often; a wrong count costs trials (0013)."""

MAX_PLANNED_OPS = 24
"""Harmful ops up to which a plan promises a number of trials. Chosen; beyond it testing one by one is cheapest. Larger:
plans take longer to compute (30 ms for 74 ops, docs/explanation/decisions/0013-group-tests-by-a-minimax-plan.md)."""

UNLIKELY_ALLOWANCE = 2
"""Trials beyond the promise that a plan for a likely number of harmful ops grants every other number (0013). Larger:
fewer trials where the guess is right, more where it is wrong."""

SPARED_NUMBERS: tuple[tuple[int, ...], ...] = ((), (4,), (4, 8))
"""Numbers of harmful ops that may take one trial more where no plan keeps the promise for all; the first that works is
taken. Found by computing every plan for up to 160 ops: 64, 124 to 127 and 128 ops need one (0013)."""
