import { describe, expect, it } from 'vitest';
import { askedForNews } from '../../src/plan/polling.ts';
import { fc } from '../support/property.ts';

const names = fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 50 });

describe('who asks the origin for news', () => {
  it('is one member of those that know each other; all others ask it, or one that does', () => {
    fc.assert(
      fc.property(names, fc.nat(), (all, epoch) => {
        const asked = new Map(all.map((self) => [self, askedForNews(self, all.filter((each) => each !== self), epoch)]));
        const afar = all.filter((self) => asked.get(self)?.length === 0);
        expect(afar).toHaveLength(1);
        for (const self of all) if (self !== afar[0]) expect(asked.get(self)?.[0]).toBe(afar[0]);
      }),
    );
  });

  it('is another one after a while', () => {
    const all = Array.from({ length: 10 }, (_, at) => `device-${String(at)}`);
    const askers = new Set(Array.from({ length: 40 }, (_, epoch) => all.find((self) => askedForNews(self, all.filter((each) => each !== self), epoch).length === 0)));
    expect(askers.size).toBeGreaterThan(5);
  });
});
