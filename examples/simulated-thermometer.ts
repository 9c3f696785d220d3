/**
 * An invented temperature for `npm start -- --simulate`: 26 degrees Celsius and a wave of 3 degrees,
 * 20 seconds long, so that a limit of 26 is passed twice in each wave.
 *
 * @module
 */
import { systemClock } from '@latchkey/shared';

const WAVE_SECONDS = 20;
const phase = (systemClock.nowMs() / 1000 / WAVE_SECONDS) * 2 * Math.PI;
process.stdout.write(`${(26 + 3 * Math.sin(phase)).toFixed(2)}\n`);
