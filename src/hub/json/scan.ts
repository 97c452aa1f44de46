import { assemble, type Code, type I32, type I64, i32, i64, type V128, type Variable } from "./assembler.ts";

/** What `run` says of the text so far. */
export const BROKEN = 0;
export const UNFINISHED = 1;
export const WHOLE = 2;
/** More containers are open than the stack holds: ask another parser. */
export const TOO_DEEP = 3;

/** Bytes looked at together, one for each bit of a mask. */
export const BLOCK = 64;
/** Of memory: first the stack, one byte for each open container, then the window that holds the text. */
const STACK = 65_536;
export const WINDOW_START = STACK;
/** Bytes of text to a call at most. What has to fit after them: one more block of the text, and white space over two. */
export const WINDOW = 64 * 1024 - 4 * BLOCK;
const PAGES = 2;

const code = (character: string): number => character.charCodeAt(0);
/** Four characters as one little endian number. */
const word = (text: string): number =>
  [...text].reduceRight((sum, character) => sum * 256 + code(character), 0);

/**
 * A WebAssembly module whose `run(length, available, fresh)` checks the grammar of a JSON text, given in one or more
 * windows: `length` bytes of it from WINDOW_START on, a multiple of BLOCK unless they are the last. `available` counts
 * those and what follows them (to see escapes and literals that stick out, one BLOCK is enough), `fresh` is 1 for the
 * first window. That the text is valid UTF-8 is not checked.
 *
 * It goes by blocks of 64 bytes, each kind of byte a 64-bit mask, and asks all its questions of 64 bytes at once. Two
 * things make that possible. Adding a mask of starts to a mask of runs carries each start to the end of its run: this
 * is how "the next byte that is no white space" and "the end of the digits" are found without a loop. And JSON is local
 * but for its containers: which token may follow which depends on the two alone, so that only the brackets need a stack
 * and a loop, and all that they change is whether a comma must lead to a key.
 *
 * A mask shifted up by one says what comes after; the bit that falls out waits for the next block in a carry.
 */
export function scanModule(): Uint8Array<ArrayBuffer> {
  return assemble(3, PAGES, writeScan);
}

function writeScan(f: Code): void {
  const length = f.parameter(0);
  const available = f.parameter(1);
  const fresh = f.parameter(2);

  const carries: { local: Variable<I64>; global: Variable<I64> }[] = [];
  /** Zero at the start of a text, kept from block to block and from window to window. */
  const carried = (): Variable<I64> => {
    const global = f.global();
    const local = f.i64(global);
    f.if(fresh, () => local.set(i64(0)));
    carries.push({ local, global });
    return local;
  };
  const inString = carried();
  const escaped = carried();
  const scalarBefore = carried();
  const stringBefore = carried();
  const valueBefore = carried();
  const openerBefore = carried();
  const separatorBefore = carried();
  const dotBefore = carried();
  const minusBefore = carried();
  const zeroBefore = carried();
  const integerBefore = carried();
  const exponentBefore = carried();
  const signBefore = carried();
  const powerBefore = carried();
  const inExponent = carried();
  const literalBefore = carried();
  const inObject = carried();
  const openContainers = carried();

  const depth = f.i32(openContainers.narrow());
  const position = f.i32(i32(WINDOW_START));
  const end = f.i32(length.plus(WINDOW_START));
  const textEnd = f.i32(available.plus(WINDOW_START));
  for (let offset = 0; offset < 2 * BLOCK; offset += 16) f.fill(textEnd, offset, code(" "));

  const bad = f.i64(i64(0));
  const giveUpIf = (condition: I32): void => f.if(condition, () => f.return(i32(BROKEN)));
  const giveUpUnless = (...conditions: [I32, ...I32[]]): void =>
    giveUpIf(conditions.reduce((sum, condition) => sum.or(condition)).isZero());

  f.while(position.below(end), () => {
    const block = [0, 16, 32, 48].map((offset): V128 => f.v128(position.vector(offset)));
    const mask = (test: (bytes: V128) => V128): I64 =>
      joined(block.map((bytes) => test(bytes).bits().wide()));
    const every = (character: string): I64 => mask((bytes) => bytes.equals(code(character)));
    const afterwards = (marks: I64, before: Variable<I64>): I64 => marks.up(1).or(before);
    bad.set(i64(0));
    const refuse = (marks: I64): void => bad.set(bad.or(marks));

    // Strings: a quote that no backslash escapes begins or ends one.
    const covered = f.i64(escaped);
    escaped.set(i64(0));
    const backslashes = block.map((bytes) => f.v128(bytes.equals(code("\\"))));
    f.if(anyOf(backslashes), () => {
      const marks = f.i64(joined(backslashes.map((bytes) => bytes.bits().wide())).without(covered));
      f.while(marks.isSet(), () => {
        const index = f.i64(marks.lowestIndex());
        giveUpIf(isEscape(f, f.i32(position.plus(index.narrow()))).isZero());
        covered.set(covered.or(i64(2).up(index)));
        escaped.set(escaped.or(i64(1).up(index).down(63)));
        marks.set(marks.without(i64(3).up(index)));
      });
    });
    const quotes = f.i64(every('"').without(covered));
    const inside = f.i64(quotes);
    for (const distance of [1, 2, 4, 8, 16, 32]) inside.set(inside.xor(inside.up(distance)));
    inside.set(inside.xor(inString));
    inString.set(inside.sign());
    const outside = f.i64(inside.not());
    const closing = f.i64(quotes.and(outside));

    // Containers: push and pop, and note which bytes belong to an object and which, at the top, to no container.
    // This takes "Y", "_", "y" and DEL for brackets too, which then match no opening one.
    const isBracket = (bytes: V128): V128 => bytes.or(0x26).equals(0x7f);
    const brackets = f.i64(mask(isBracket).and(outside));
    const openers = f.i64(i64(0));
    const objects = f.i64(i64(0));
    const top = f.i64(i64(0).minus(depth.isZero().wide()));
    const ahead = f.i64(i64(-1));
    const left = f.i64(brackets);
    f.while(left.isSet(), () => {
      const bit = f.i64(left.and(i64(0).minus(left)));
      const upTo = f.i64(bit.xor(bit.minus(i64(1))));
      objects.set(objects.or(inObject.and(ahead).and(upTo)));
      ahead.set(ahead.without(upTo));
      const bracket = f.i32(position.plus(left.lowestIndex().narrow()).byte());
      const isObject = (opener: I32): I64 => i64(0).minus(opener.equals(code("{")).wide());
      f.if(
        bracket.equals(code("{")).or(bracket.equals(code("["))),
        () => {
          f.if(depth.isZero(), () => top.set(upTo));
          f.if(depth.equals(STACK), () => f.return(i32(TOO_DEEP)));
          f.storeByte(depth, bracket);
          depth.set(depth.plus(1));
          inObject.set(isObject(bracket));
          openers.set(openers.or(bit));
        },
        () => {
          giveUpIf(depth.isZero());
          depth.set(depth.minus(1));
          // In ASCII each closing bracket comes two after its opening one.
          giveUpIf(depth.byte().plus(2).equals(bracket).isZero());
          f.if(
            depth.isZero(),
            () => top.set(top.or(ahead)),
            () => inObject.set(isObject(depth.minus(1).byte())),
          );
        },
      );
      left.set(left.xor(bit));
    });
    objects.set(objects.or(inObject.and(ahead)));
    const closers = f.i64(brackets.xor(openers));

    // Tokens: what is neither string, separator nor white space is part of a number or literal.
    const commas = f.i64(every(",").and(outside));
    const colons = f.i64(every(":").and(outside));
    const separators = f.i64(commas.or(colons).or(brackets));
    const white = f.i64(i64(0));
    const lowest = block.reduce((least, bytes) => least.least(bytes));
    f.if(lowest.atMost(code(" ")).any(), () => {
      const controls = f.i64(mask((bytes) => bytes.below(code(" "))));
      white.set(every(" "));
      f.if(controls.isSet(), () => white.set(white.or(every("\n")).or(every("\r")).or(every("\t"))));
      white.set(white.and(outside));
      refuse(controls.without(white));
    });
    const scalars = f.i64(outside.xor(separators.or(white).or(closing)));
    const shifted = f.i64(afterwards(scalars, scalarBefore));
    const edges = f.i64(scalars.xor(shifted));
    const starts = f.i64(scalars.and(edges));
    scalarBefore.set(scalars.down(63));

    // What follows what. A byte is "after" a token if nothing but white space lies between.
    const afterString = f.i64(afterwards(closing, stringBefore));
    const afterOther = f.i64(afterwards(closers, valueBefore).or(shifted.and(edges)));
    const afterOpener = f.i64(afterwards(openers, openerBefore));
    stringBefore.set(closing.down(63));
    valueBefore.set(closers.down(63));
    openerBefore.set(openers.down(63));
    const skipWhite = (after: Variable<I64>, before: Variable<I64>): void => {
      after.set(after.plus(white));
      before.set(before.or(white.without(after).down(63)));
    };
    f.if(white.isSet(), () => {
      skipWhite(afterString, stringBefore);
      skipWhite(afterOther, valueBefore);
      skipWhite(afterOpener, openerBefore);
    });
    const afterValue = f.i64(afterString.or(afterOther));
    const hollow = f.i64(closers.and(afterOpener));
    refuse(starts.or(openers).or(quotes.and(inside)).and(afterValue));
    refuse(commas.or(closers.without(hollow)).without(afterValue));

    // Keys. From each comma and opener to the next separator: in an object that is a colon, and none is elsewhere.
    const expecting = f.i64(commas.or(openers));
    const next = f.i64(afterwards(expecting, separatorBefore).plus(separators.not()));
    separatorBefore.set(separators.or(next).not().or(expecting).down(63));
    refuse(colons.without(afterString.and(next).and(objects)));
    refuse(objects.and(next).and(separators.xor(colons.or(hollow))));
    refuse(commas.and(top));

    // Moved to the bottom of the signed bytes, the ten digits need one comparison.
    const isDigit = (bytes: V128): V128 => bytes.plus(0x80 - code("0")).belowSigned(0x80 + 10);
    const digits = f.i64(mask(isDigit).and(outside));
    const minuses = f.i64(every("-").and(outside));
    const dots = f.i64(every(".").and(outside));

    // Literals, one by one, and exponents: both are rare beside plain numbers.
    const others = f.i64(scalars.xor(digits.or(minuses).or(dots)));
    f.if(others.or(inExponent).isSet(), () => {
      const words = f.i64(starts.and(others));
      others.set(others.without(literalBefore));
      literalBefore.set(i64(0));
      f.while(words.isSet(), () => {
        const index = f.i64(words.lowestIndex());
        const at = f.i32(position.plus(index.narrow()));
        const letters = f.i32(at.word());
        const isFalse = f.i32(letters.equals(word("fals")).and(at.byte(4).equals(code("e"))));
        giveUpUnless(isFalse, letters.equals(word("null")), letters.equals(word("true")));
        const follower = f.i32(at.plus(isFalse).byte(4));
        const closes = follower.equals(code("}")).or(follower.equals(code("]")));
        giveUpUnless(closes, follower.equals(code(",")), follower.atMost(code(" ")));
        const cover = f.i64(i64(15).or(isFalse.wide().up(4)));
        others.set(others.without(cover.up(index)));
        literalBefore.set(literalBefore.or(cover.down(1).down(i64(63).minus(index))));
        words.set(words.and(words.minus(i64(1))));
      });

      // An exponent follows a digit: at a start it was no word, elsewhere what comes before it wants a digit itself.
      const exponents = f.i64(mask((bytes) => bytes.or(0x20).equals(code("e"))).and(others));
      const pluses = f.i64(others.xor(exponents));
      const afterExponent = f.i64(afterwards(exponents, exponentBefore));
      const signs = f.i64(minuses.or(pluses).and(afterExponent));
      const afterSign = f.i64(afterwards(signs, signBefore));
      const powers = f.i64(afterExponent.or(afterSign).and(digits));
      const afterPower = f.i64(powers.or(powerBefore).plus(digits));
      refuse(pluses.without(every("+").and(afterExponent)));
      refuse(afterExponent.xor(signs).or(afterSign).without(digits));
      refuse(exponents.and(afterPower));
      minuses.set(minuses.without(afterExponent));
      exponentBefore.set(exponents.down(63));
      signBefore.set(signs.down(63));
      powerBefore.set(digits.without(afterPower).down(63));
      inExponent.set(exponentBefore.or(signBefore).or(powerBefore));
    });

    // Numbers. A dot may follow the integer part alone, and what follows a sign or dot is a digit.
    const afterMinus = f.i64(afterwards(minuses, minusBefore));
    const afterDot = f.i64(afterwards(dots, dotBefore));
    const integers = f.i64(starts.or(afterMinus).and(digits));
    const leadingZeros = f.i64(integers.and(every("0")));
    const afterInteger = f.i64(integers.or(integerBefore).plus(digits));
    refuse(minuses.without(starts));
    refuse(afterMinus.or(afterDot).without(digits));
    refuse(afterwards(leadingZeros, zeroBefore).and(digits));
    refuse(dots.without(afterInteger));
    minusBefore.set(minuses.down(63));
    dotBefore.set(dots.down(63));
    zeroBefore.set(leadingZeros.down(63));
    integerBefore.set(digits.without(afterInteger).down(63));

    giveUpIf(bad.isSet());
    position.set(position.plus(BLOCK));
  });

  openContainers.set(depth.wide());
  for (const { local, global } of carries) global.set(local);
  const pending = inString.or(dotBefore).or(minusBefore).or(exponentBefore).or(signBefore).or(openContainers);
  const afterSomething = scalarBefore.or(stringBefore).or(valueBefore);
  f.if(pending.isZero().and(afterSomething.isSet()), () => f.return(i32(WHOLE)));
  f.return(i32(UNFINISHED));
}

/** One mask of four times sixteen bits. */
function joined(parts: readonly I64[]): I64 {
  return parts.map((part, index) => part.up(16 * index)).reduce((sum, part) => sum.or(part));
}

function anyOf(parts: readonly V128[]): I32 {
  return parts.reduce((sum, part) => sum.or(part)).any();
}

/** Whether a backslash at this address begins one of the escapes of RFC 8259, section 7. */
function isEscape(f: Code, at: I32): I32 {
  const letter = f.i32(at.byte(1));
  const isHex = (digit: I32): I32 =>
    digit
      .minus(code("0"))
      .below(10)
      .or(digit.or(0x20).minus(code("a")).below(6));
  const good = f.i32(i32(0));
  f.if(
    letter.equals(code("u")),
    () => good.set([2, 3, 4, 5].map((offset) => isHex(at.byte(offset))).reduce((sum, one) => sum.and(one))),
    () => good.set([...'"\\/bfnrt'].map((one) => letter.equals(code(one))).reduce((sum, one) => sum.or(one))),
  );
  return good;
}
