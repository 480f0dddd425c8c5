/** How long members of a site wait for each other, and how much they bring at a time (`src/plan/site.ts`). */

/**
 * Spans are dealt out in so many lots, so at most so many members bring things at a time. All others look at these, so that all
 * agree; and a few that share a slow line finish spans to pass on while many would all be half way.
 */
export const LOTS = 8;
/**
 * Where of those that bring things none is left, so many others take their places. All members look at these as well: who comes late, and is one of those
 * whose places were taken, is to see by whom.
 */
export const STAND_INS = 4;
/** For how long somebody who was lost is not given a place again, unless he is heard of, milliseconds. */
export const LOST_MS = 300_000;
/** For how long a member that does not want the artifact yet is counted as one that brings its share, milliseconds. */
export const JOIN_MS = 3_000;
/** The same of one that says it is looking for news: with a slow processor, or many of them on one, that takes a while. Milliseconds. */
export const LOOKING_MS = 20_000;
/** For how long nobody crosses because of a member that is there and has not answered yet: it may be bringing anything. Milliseconds. */
export const UNHEARD_MS = 15_000;

/** A member that shows no sign of life for so long loses its turn, milliseconds. */
export const TAKE_OVER_MS = 10_000;
/** So many times as long when it can be reached, and is late with its answers: it has more to do than its processor can. */
export const BUSY_TIMES = 2;
/**
 * And so many times, what has not answered yet included, when more than half of the others are late, and not just one or two: then it is
 * not they that are slow, but this device or all that they have in common. To give them up would be to fetch everything again.
 */
export const ALL_BUSY_TIMES = 6;
export const ALL_BUSY_LEAST = 3;
/**
 * Where members answer more slowly than this, all of these times are so many times as long as the middle one of the last answers takes longer, but not more than
 * that many times: where processors are full, a minute is what a moment is elsewhere, and whoever is slow must not make everybody cross. Milliseconds.
 */
export const ANSWER_MS = 250;
export const ANSWERS = 16;
export const SLOW_TIMES_MOST = 8;
/** For how long a member that says it is at work, and has nothing to show for it, keeps its turn at most, milliseconds. */
export const WORK_UNSEEN_MS = 300_000;
/** Less where it is known how long others take: so many times that, but not less than this, milliseconds. */
export const PATIENCE_TIMES = 4;
export const PATIENCE_LEAST_MS = 30_000;
/**
 * When nobody has shown anything for so long, one member tries a span that nobody says he is bringing, after twice as long
 * another one, and so on. Where the line is slow it is a span like any other; where those whose turn it was did nothing, it
 * shows how long one takes. Milliseconds.
 */
export const TRY_MS = 20_000;
/** A member that ceased so often to bring what it said it was bringing, and had not got it, is not believed about that any more. */
export const BROKEN_MOST = 8;

/** What was for a member to bring that shows no sign of life is left to it for so long, while there is enough else to bring, milliseconds. */
export const STAND_IN_MS = 40_000;
/** Within so long those that answer as fast as usual hear what another one is bringing, milliseconds: the interval between their questions, and a little more. */
export const HEARD_WITHIN_MS = 1_500;
/** How often it is found out whether there is, and what may be brought for others, milliseconds. */
export const LEFT_MS = 250;

/** Spans on their way over the backhaul at a time that a site aims at; each is lost, in part, when whoever brings it dies. */
export const WIDTH = 6;
/** The same when nothing else is left to begin: enough to keep the line full. */
export const LAST_WIDTH = 2;

/** For how long a member may keep to itself what bringing it costs it, before it counts as one without a delta, milliseconds. */
export const UNDECIDED_MS = 10_000;
