import { expect, it } from 'vitest';
import { SERVE_REQUESTS_PER_SECOND } from '../../src/core/limits.ts';
import { Paces } from '../../src/serve/paces.ts';
import { ManualClock } from '../support/manual-clock.ts';

it('a client that asks too fast is answered later, and nobody else is', async () => {
  const clock = new ManualClock();
  const paces = new Paces(clock);
  let answered = 0;
  const asked = 3 * SERVE_REQUESTS_PER_SECOND;
  const flood = Array.from({ length: asked }, () => paces.turn('flood').then(() => answered++));
  await Promise.resolve();
  for (let second = 1; second <= 3; second++) {
    await paces.turn('other');
    clock.advance(1_000);
    await new Promise((resolve) => { setImmediate(resolve); });
    // A quarter of a second's worth is let through at once.
    expect(Math.abs(answered - Math.min(asked, (second + 0.25) * SERVE_REQUESTS_PER_SECOND))).toBeLessThan(3);
  }
  await Promise.all(flood);
});
