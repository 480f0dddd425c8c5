import fc from 'fast-check';

/**
 * fast-check that draws the same every time: whether a change may land is not to depend on luck. Whoever looks for more sets
 * SHOAL_SEED to other numbers.
 */
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.SHOAL_SEED ?? 1) });

export { fc };
