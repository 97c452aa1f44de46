import { expect, test } from "bun:test";
import { lastElement, objectMembers, withoutMember } from "../../../../src/hub/json/members.ts";

test.each([
  ["[1,2,3,4,5]", "5"],
  ['["a","b","c","d",{"x":[1,2]}]', '{"x":[1,2]}'],
  ['["]",",","[","{\\"",["]"]]', '["]"]'],
  [' [ null , "1" , "t" , "e" , { "a" : 1 } ] ', '{ "a" : 1 }'],
  ['\t[\r\nnull,\n"\\\\",\t"\\"",\r"\\\\\\"", "x" ]\n', '"x"'],
  ['[{"a":[{}]},[[]],"",-1.5e+3,true]', "true"],
  ["[[],{},[],{},[]]", "[]"],
  ['[0,0,0,0,"\\u005d"]', '"\\u005d"'],
  ["[0,0,0,0,-0.0E-0]", "-0.0E-0"],
])("the fifth and last element of %p is %p", (text, element) => {
  expect(lastElement(text, 4)).toBe(element);
});

test("the first element, where it is the only one", () => {
  expect(lastElement(" [ 7 ] ", 0)).toBe("7");
});

test("the members of an object stand in their order, keys decoded, a key as often as it comes", () => {
  const text = ' { "a" : 1 , "\\u0061":[1,{"a":2}] ,"":"}" , "q\\"" : {"a":"{"}}';
  const members = objectMembers(text);
  expect(members.map(({ key }) => key)).toEqual(["a", "a", "", 'q"']);
  expect(members.map(({ valueStart, end }) => text.slice(valueStart, end))).toEqual([
    "1",
    '[1,{"a":2}]',
    '"}"',
    '{"a":"{"}',
  ]);
});

test.each(["{}", " { } ", "{\n}"])("%p has no members", (text) => {
  expect(objectMembers(text)).toEqual([]);
});

test.each([
  ['{"token":"x"}', "{}"],
  ['{"a":1,"token":"x"}', '{"a":1}'],
  ['{"token":"x","a":1}', '{"a":1}'],
  ['{"token":1,"a":1,"token":2}', '{"a":1}'],
  ['{"tok\\u0065n":"x","a":1}', '{"a":1}'],
  ['{"\\u0074\\u006f\\u006B\\u0065\\u006e":"x"}', "{}"],
  [
    '{ "b" : 9007199254740993 , "token":{"token":"}"} , "a" :[ 1 ,2 ],"b":1.50}',
    '{"b" : 9007199254740993,"a" :[ 1 ,2 ],"b":1.50}',
  ],
  ['{"Token":1,"token ":2,"":3,"token":4}', '{"Token":1,"token ":2,"":3}'],
  ['{"\\\\":1,"token":"\\\\"}', '{"\\\\":1}'],
  ['{"__proto__":{"token":1},"token":1}', '{"__proto__":{"token":1}}'],
  ['{"s":"\\"token\\":1","token":0}', '{"s":"\\"token\\":1"}'],
])("%p without its token is %p", (text, rest) => {
  expect(withoutMember(text, "token")).toBe(rest);
  expect(JSON.parse(rest)).not.toHaveProperty("token");
});

test.each([
  ' {"a" : 1 }\n',
  '{"nested":{"token":"stays"}}',
  '{"list":["token"],"s":"token"}',
  "{}",
  '{"tokens":1,"toke":2}',
])("an object without a token stays as it was written: %p", (text) => {
  expect(withoutMember(text, "token")).toBe(text);
});

test("long and deep texts are looked through in linear time", () => {
  const deep = `${'{"a":['.repeat(50_000)}1${"]}".repeat(50_000)}`;
  const quotes = JSON.stringify('"\\'.repeat(200_000));
  const before = performance.now();
  expect(lastElement(`[0,0,0,0,${deep}]`, 4)).toBe(deep);
  expect(withoutMember(`{"x":${quotes},"token":1}`, "token")).toBe(`{"x":${quotes}}`);
  expect(performance.now() - before).toBeLessThan(20_000);
});
