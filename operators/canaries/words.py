"""The words that canaries are made of: 512 of English, so nine bits of a draw are a word."""

from __future__ import annotations

_LISTED = """
acorn actor album alley amber anchor angel ankle apple apron arch arena armor arrow artist ashes aspen atlas attic
aunt author autumn badge baker ballad bamboo banana bandit banjo banner barber barley barn barrel basin basket battle
bazaar beach beacon beaver beetle bell bench berry bishop blanket blossom board boiler bonnet border bottle boulder
bowl branch brass bread breeze brick bride bridge bronze brook broom brother bubble bucket buckle buffalo builder
bundle bureau burrow butcher butter button cabbage cabin cable camel candle canoe canvas canyon captain caravan cargo
carpet carrot castle cattle cave cedar cellar chain chair chalk chapel charcoal cherry chest chimney chisel choir
circus citadel clarinet clay cliff clinic cloak clock clover coach coast cobbler coconut coffee collar colony comet
compass copper coral cottage cotton cousin cradle crane crater cricket crown crystal cupboard curtain cushion cymbal
dagger daisy dancer dawn deer desert diamond dinner doctor dolphin donkey doorway dragon drawer drum duchess dwarf
eagle earth easel elbow elder elephant ember emerald empire engine envelope equator estate evening fabric factory
fairy falcon farmer feather fence ferry fiddle field finger flame flannel flask fleet flint flock flood flour flower
flute forest forge fortress fountain frog frost funnel furnace gallery garden garlic gate ghost giant ginger glacier
glove goat goblet gorge grain granite grape gravel guitar gull hail hammer hamster handle harbor harp harvest hawk
hazel hearth hedge helmet herald hermit heron hill hive holly honey hood horizon hornet horse hotel hunter inlet iris
iron island ivory jacket jaguar jasmine jelly jewel jockey judge juice jungle jury kettle keyhole king kitchen kite
kitten knight knot ladder lagoon lake lamb lantern lark laurel lawyer leather lemon leopard letter lettuce lighter
lily linen lion lizard lobster locket loom lumber lute magnet maiden mango mantle maple marble market marsh mason mast
meadow melon merchant meteor mill miner minnow mirror mist mitten moat monk monsoon moon moss moth mountain mouse mule
museum mustard myrtle napkin nectar needle nephew nest nettle niece night novel nurse nutmeg oasis oats ocean olive
onion opal orange orchard orchid organ otter oven oyster paddle palace palm panther paper parade parrot parsley
pasture patch peach peacock pear pearl pebble pedal pelican penguin pepper pewter piano pigeon pillow pilot pine
pirate pitcher planet plateau plow plum pocket poet pony poplar poppy porch portrait potato potter prairie prince
prism prison puddle pulley pumpkin puppet quail quarry quartz queen quill quilt rabbit radish raft rain ranch raven
razor reef ribbon rice river robin rocket roof rooster rope rose ruby rudder saddle sailor salad salmon sandal
sapphire satchel saucer sawmill scarf school scissors scribe sculptor seal shadow shark sheep shell shepherd shield
shovel shrine silk silver singer sister skater sleigh slipper smith smoke snail snow soldier spade sparrow spear spice
spider spinach spire spoon spruce squirrel stable stair statue steam steeple stone stork stove stream summit surgeon
swallow swan sword table tailor teacup temple tent thimble thistle thorn throne thunder tiger timber toad tobacco
tomato torch tortoise tower trader trumpet tulip tunnel turban turkey turnip turtle tutor tweed uncle unicorn valley
vase velvet vessel village vineyard violet
"""

WORDS: tuple[str, ...] = tuple(_LISTED.split())
