/** What a page of Tangram shows of the world, in degrees, as it says in `bound-box`. */
export interface Box {
  readonly northEastLat: number;
  readonly northEastLng: number;
  readonly southWestLat: number;
  readonly southWestLng: number;
}

const SIDES = ["northEastLat", "northEastLng", "southWestLat", "southWestLng"];

export function isBox(value: object): value is Box {
  return SIDES.every((side) => typeof Reflect.get(value, side) === "number");
}

export function isWithin(box: Box, latitude: number, longitude: number): boolean {
  return (
    latitude >= box.southWestLat &&
    latitude <= box.northEastLat &&
    longitude >= box.southWestLng &&
    longitude <= box.northEastLng
  );
}
