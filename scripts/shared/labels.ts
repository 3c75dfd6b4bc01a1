/** The key under which everything outside the state folder carries the name of the lab that owns it. */
export const OWNER_KEY = 'user.k8s-bgp-lab.owner';

/** The key that tells which plan an instance was made from. */
export const RECIPE_KEY = 'user.k8s-bgp-lab.recipe';

/** Where the lab notes what it started on the host itself, so that labdown finds it without the state folder. */
export const RUN_DIR = '/run/k8s-bgp-lab';
