/** A process of one attacker: `bun attacker.ts NAME PORT BUS_PORT SECRET ROOM SECONDS`. Ends by itself. */
import { attacks } from "./attacks.ts";

const [name, port, busPort, secret = "", room = "", seconds] = process.argv.slice(2);
const attack = attacks.find((each) => each.name === name);
if (attack === undefined) throw new Error(`no attack is called ${name}`);
const milliseconds = Number(seconds) * 1000;
// Ends the process even if the attack hangs.
setTimeout(() => process.exit(0), milliseconds + 500);
await attack.run({
  port: Number(port),
  busPort: Number(busPort),
  secret,
  room,
  until: performance.now() + milliseconds,
});
process.exit(0);
